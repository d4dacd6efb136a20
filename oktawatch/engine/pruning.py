"""What is deleted when: the settings' ages, and how much of the past the rules still need.

History is kept as long as something can come that looks back at it. An event can come as late as reading
may still reach: where the last sweep stood, or, in a quiet org, the newest event, near which polling starts
anew when its cursor is lost; a sweep's window before that, and a day more for what Okta itself is slow
with. From there the longest window reaches further back. While a backfill reads the past, its beginning
counts in the same way. So pruning never changes what a rule says to an event that comes by
itself; who reads a past anew whose history is gone finds there what one finds who begins with an org.
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
from oktawatch.engine.okta_retention import clamp_to_okta_retention
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

MOST = 1_000
"""Rows a transaction: some 20 ms."""
PAUSE = timedelta(milliseconds=50)
"""Between two of them at least, in which whoever waits for the database goes on."""
LATE = timedelta(days=1)
"""How late an event may come to be polled."""
_GONE = timedelta(days=1)
_GOES_ON = timedelta(days=1)
"""A backfill that has not moved for longer begins anew when it is run again."""
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


class Ages(Struct, frozen=True, kw_only=True):
    """How long things are kept, as the operator says."""

    events: timedelta
    alerts: timedelta
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
        most: int = MOST,
        pause: timedelta = PAUSE,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``orgs``: those that are watched. While one of the ``rules`` can't be used, all that was seen stays."""
        self._database = database
        self._orgs = orgs
        self._rules = rules
        self._ages = ages
        self._most = most
        self._pause = pause
        self._now = now or database.now

    async def round(self, *, holds: Callable[[str], bool] = lambda _org: True) -> Counter[str]:
        """Delete what has had its time; give how many rows, by table. Raises StoreError.

        ``holds``: whether an org of ours is this process's to see to.
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
            # At least half of the time is the others', however slow the disk is.
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
                remembers=self._rules.remembers,
            )
            for reading in await self._database.run(readings)
            if (holds(reading.org) if reading.org in self._orgs else now - reading.heard_at > _GONE)
        ]


def _reached(reading: Reading, now: datetime) -> datetime:
    """Say up to when nothing of an org can come any more, but by a backfill."""
    known = [moment for moment in (reading.until, reading.newest) if moment is not None]
    # What Okta has no more can't come, however long ago the org was read.
    return clamp_to_okta_retention(min(*known, now) if known else _FIRST, now)


def _before(moment: datetime, age: timedelta) -> datetime:
    try:
        return moment - age
    except OverflowError:
        return _FIRST
