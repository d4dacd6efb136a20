"""Decide which rows have expired: by age, and by how much history the rules still need.

A rule may need history for an event that arrives later:

- The next sweep starts one sweep window before the end of the last sweep.
- If the cursor is lost, polling restarts near the newest event.
- Okta may deliver an event up to a day late (`LATE`).

Pruning subtracts the sweep window, `LATE` and the longest window of a rule from the end of the last sweep or the newest
event, whichever is earlier, and keeps the history after that time. A backfill in progress keeps as much before its own
time range.

So pruning never changes whether a rule matches an event from polling or a sweep. If a backfill reads a time whose history
was deleted, its events are evaluated as in an org that was never polled before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct

from oktawatch.detection.registry import RuleSet
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.okta_retention import OKTA_KEEPS, clamp_to_okta_retention
from oktawatch.model.person_past import FAMILIAR_WINDOW
from oktawatch.store.database import Database
from oktawatch.store.pruning import (
    STEPS,
    Batch,
    Expiry,
    Reading,
    count_expired,
    count_messages_and_leases,
    prune_leases,
    prune_messages,
    readings,
)

T = TypeVar("T")

ROWS_AT_ONCE = 1_000
"""Maximum number of rows of a table in one transaction."""
PAUSE = timedelta(milliseconds=50)
"""Minimum pause between two transactions, so that other writers get their turn."""
LATE = timedelta(days=1)
"""How late Okta may deliver an event."""
_UNWATCHED_AFTER = timedelta(days=1)
"""An org that is not configured here is pruned if no process has polled it for longer than this."""
_RESUMABLE = timedelta(days=1)
"""A backfill that has made no progress for longer than this is never resumed."""
_FIRST = datetime(1, 1, 1, tzinfo=UTC)  # no row is older


class Ages(Struct, frozen=True, kw_only=True):
    """The configured retention: how long events, alerts and sightings are kept."""

    events: timedelta
    alerts: timedelta
    sightings: timedelta
    sweep_window: timedelta
    """How far before the end of the last sweep the next one starts."""


class Pruner:
    """Prunes the orgs of one database. Run one round at a time."""

    def __init__(
        self,
        database: DatabaseExecutor,
        orgs: Sequence[str],
        rules: RuleSet,
        ages: Ages,
        *,
        most: int = ROWS_AT_ONCE,
        pause: timedelta = PAUSE,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``orgs`` are the configured orgs. ``rules`` are the enabled rules.

        While a custom rule can't be used, no history is deleted, because the rule may need it.
        """
        self._database = database
        self._orgs = orgs
        self._rules = rules
        self._ages = ages
        self._most = most
        self._pause = pause
        self._now = now or database.now

    async def round(
        self,
        *,
        holds: Callable[[str], bool] = lambda _org: True,
        progress: Callable[[int], None] = lambda _rows: None,
    ) -> Counter[str]:
        """Delete expired rows; return how many, by table. Raises StoreError.

        ``holds`` returns whether this process polls a configured org. If not, another process prunes the org.
        ``progress`` is called with the number of rows deleted so far.
        """
        now = self._now()
        deleted: Counter[str] = Counter()
        for expiry in await self._expiries(now, holds):
            for step in STEPS:
                async for rows in self._batches(step, expiry):
                    deleted += rows
                    progress(deleted.total())
        async for rows in self._batches(prune_messages, _before(now, self._ages.alerts)):
            deleted += rows
            progress(deleted.total())
        leases = _before(now, self._ages.events)
        return deleted + await self._database.run(prune_leases, self._orgs, leases)

    async def count(self) -> Counter[str]:
        """Count the rows that a round would delete if this process polled every org, by table. Raises StoreError."""
        now = self._now()
        messages, leases = _before(now, self._ages.alerts), _before(now, self._ages.events)
        total = await self._database.run(
            count_messages_and_leases, self._orgs, messages=messages, leases=leases
        )
        for expiry in await self._expiries(now, lambda _org: True):
            total += await self._database.run(count_expired, expiry)
        return total

    async def _batches(
        self, prune: Callable[[Database, T, int], Batch], expired: T
    ) -> AsyncIterator[Counter[str]]:
        """Delete batches until nothing is left; yield the number of rows of each batch, by table."""
        while True:
            began_s = time.monotonic()
            batch = await self._database.run(prune, expired, self._most)
            yield batch.rows
            if not batch.more:
                return
            # Leave at least half of the time to other writers, however slow the disk is.
            await asyncio.sleep(max(self._pause.total_seconds(), time.monotonic() - began_s))

    async def _expiries(self, now: datetime, holds: Callable[[str], bool]) -> list[Expiry]:
        needed = self._ages.sweep_window + LATE + self._rules.longest_window

        def history(reading: Reading) -> datetime | None:
            if not self._rules.complete:
                return _FIRST
            return _before(_reached(reading, now), needed) if self._rules.uses_history else None

        return [
            Expiry(
                org=reading.org,
                events=_before(now, self._ages.events),
                history=history(reading),
                backfill_look_back=needed,
                backfills_active_since=_before(now, _RESUMABLE),
                alerts=_before(now, self._ages.alerts),
                sightings=_before(now, self._ages.sightings),
                familiar=_before(now, OKTA_KEEPS + LATE + FAMILIAR_WINDOW),
                served=_before(now, OKTA_KEEPS + LATE),
                is_in_history=self._rules.is_in_history,
            )
            for reading in await self._database.run(readings)
            if (
                holds(reading.org)
                if reading.org in self._orgs
                else now - reading.last_polled_at > _UNWATCHED_AFTER
            )
        ]


def _reached(reading: Reading, now: datetime) -> datetime:
    """Return the time up to which an org has been read, at the earliest the start of Okta's retention.

    An event that arrives later is older than this by at most the sweep window and ``LATE``, except in a backfill.
    """
    known = [moment for moment in (reading.until, reading.newest) if moment is not None]
    # Events that Okta has deleted can't arrive, however long ago the org was read.
    return clamp_to_okta_retention(min(*known, now) if known else _FIRST, now)


def _before(moment: datetime, age: timedelta) -> datetime:
    try:
        return moment - age
    except OverflowError:
        return _FIRST
