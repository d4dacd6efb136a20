"""Decide what is deleted when: by age, and by how much of the past the rules still need.

History is kept as long as an event may come that a rule compares with it. The oldest event that may still come
is found like this: start from where the last sweep ended, or, in a quiet org, from the newest event, near which
polling restarts if its cursor is lost. Go back by a sweep's window, and by a day for events that Okta itself
delivers late. From there the longest window of a rule reaches further back. The beginning of a running backfill
counts in the same way.

So pruning never changes what a rule decides about an event that arrives by itself. A backfill of a past whose
history is deleted decides like one of an org that was never watched before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct

from oktawatch.detection.registry import RuleSet
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.okta_retention import OKTA_KEEPS, clamp_to_okta_retention
from oktawatch.store.database import Database
from oktawatch.store.pruning import (
    STEPS,
    Expiry,
    Piece,
    Reading,
    count_expired,
    count_the_rest,
    prune_leases,
    prune_messages,
    readings,
)

T = TypeVar("T")

ROWS_AT_ONCE = 1_000
"""Rows in a transaction, which takes some 20 ms."""
PAUSE = timedelta(milliseconds=50)
"""The least time between two transactions, for whatever else waits for the database."""
LATE = timedelta(days=1)
"""How late Okta may deliver an event."""
_GONE = timedelta(days=1)
_GOES_ON = timedelta(days=1)
"""A backfill that has not moved for longer begins again when it is run again."""
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


class Ages(Struct, frozen=True, kw_only=True):
    """How long rows are kept, as configured."""

    events: timedelta
    alerts: timedelta
    sightings: timedelta
    sweep_window: timedelta
    """How far back a sweep reads."""


class Pruner:
    """Prunes the orgs of one database. One round at a time."""

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
        """``orgs``: those that are watched. While one of the ``rules`` can't be used, no history is deleted."""
        self._database = database
        self._orgs = orgs
        self._rules = rules
        self._ages = ages
        self._most = most
        self._pause = pause
        self._now = now or database.now

    async def round(self, *, holds: Callable[[str], bool] = lambda _org: True) -> Counter[str]:
        """Delete expired rows; return how many, by table. Raises StoreError.

        ``holds``: whether this process polls one of the configured orgs.
        """
        now = self._now()
        deleted: Counter[str] = Counter()
        for expiry in await self._expiries(now, holds):
            for step in STEPS:
                deleted += await self._pieces(step, expiry)
        deleted += await self._pieces(prune_messages, _before(now, self._ages.alerts))
        leases = _before(now, self._ages.events)
        return deleted + await self._database.run(prune_leases, self._orgs, leases)

    async def count(self) -> Counter[str]:
        """Count what a round would delete, by table. Raises StoreError."""
        now = self._now()
        messages, leases = _before(now, self._ages.alerts), _before(now, self._ages.events)
        total = await self._database.run(count_the_rest, self._orgs, messages=messages, leases=leases)
        for expiry in await self._expiries(now, lambda _org: True):
            total += await self._database.run(count_expired, expiry)
        return total

    async def _pieces(self, prune: Callable[[Database, T, int], Piece], what: T) -> Counter[str]:
        deleted: Counter[str] = Counter()
        while True:
            begun = time.monotonic()
            piece = await self._database.run(prune, what, self._most)
            deleted += piece.rows
            if not piece.more:
                return deleted
            # At least half of the time is left to others, however slow the disk is.
            await asyncio.sleep(max(self._pause.total_seconds(), time.monotonic() - begun))

    async def _expiries(self, now: datetime, holds: Callable[[str], bool]) -> list[Expiry]:
        needed = self._ages.sweep_window + LATE + self._rules.longest_window

        def history(reading: Reading) -> datetime | None:
            if not self._rules.complete:
                return _FIRST
            return _before(_reached(reading, now), needed) if self._rules.look_back else None

        return [
            Expiry(
                org=reading.org,
                events=_before(now, self._ages.events),
                history=history(reading),
                looked_back=needed,
                going_on=_before(now, _GOES_ON),
                alerts=_before(now, self._ages.alerts),
                sightings=_before(now, self._ages.sightings),
                served=_before(now, OKTA_KEEPS + LATE),
                remembers=self._rules.remembers,
            )
            for reading in await self._database.run(readings)
            if (holds(reading.org) if reading.org in self._orgs else now - reading.heard_at > _GONE)
        ]


def _reached(reading: Reading, now: datetime) -> datetime:
    """Return the time before which no event of an org can come any more, except by a backfill."""
    known = [moment for moment in (reading.until, reading.newest) if moment is not None]
    # Events that Okta has deleted can't come, however long ago the org was read.
    return clamp_to_okta_retention(min(*known, now) if known else _FIRST, now)


def _before(moment: datetime, age: timedelta) -> datetime:
    try:
        return moment - age
    except OverflowError:
        return _FIRST
