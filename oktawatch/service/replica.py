"""Distribute the orgs among the replicas that share a database, by leases.

A lease is shorter than `service.lease_ttl` and is renewed well before it expires. So if a replica dies, another one
takes over its orgs within `service.lease_ttl` of the last renewal.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised
from oktawatch.store.errors import StoreError
from oktawatch.store.leases import Leases, NameTakenError

_log: Any = structlog.get_logger(__name__)

_DURATION_SHARE = 0.6  # of lease_ttl
_RENEWAL_SHARE = 0.1  # of lease_ttl: some renewals may fail before a lease is lost
_RELEASE_TIMEOUT_S = 1.0
_MOST_NAMED = 5  # maximum number of orgs in a line of the log


class Replica(Supervised[frozenset[str]]):
    """The leases of this replica. A lease ends here no later than in the database, even if the clocks differ."""

    def __init__(
        self,
        name: str,
        orgs: Sequence[str],
        database: DatabaseExecutor,
        *,
        lease_ttl: timedelta,
        database_trouble: DatabaseTrouble,
        gained: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``gained`` is called with each org that this replica starts to poll."""
        super().__init__(FailureLog("lease", instance=name), database_trouble=database_trouble)
        self.interval = lease_ttl * _RENEWAL_SHARE
        """The time between two rounds."""
        self._duration = lease_ttl * _DURATION_SHARE
        self._leases = Leases(name, orgs, lasts=self._duration)
        self._database = database
        self._gained = gained
        self._clock = clock
        self._held: frozenset[str] = frozenset()
        self._held_until = self._renewed_at = 0.0

    def holds(self, org: str) -> bool:
        """Return whether this replica holds the org's lease now."""
        return org in self._held and self._clock() < self._held_until

    async def round(self) -> timedelta | None:
        """Renew, acquire and release leases. A lease that can't be renewed expires by itself."""
        return await self.attempt(self._keep)

    def succeeded(self, held: frozenset[str]) -> timedelta | None:
        """Hold the orgs until their leases expire."""
        self.database_works()
        self._hold(held)
        return None

    async def failed(self, error: Exception) -> None:
        """Hold no org if another process uses this replica's name."""
        if isinstance(error, NameTakenError):
            self._hold(frozenset())

    async def _keep(self) -> frozenset[str]:
        self._renewed_at = self._clock()
        await self._database.read_clock()
        return await self._database.run(self._leases.keep)

    def _hold(self, held: frozenset[str]) -> None:
        gained, lost = held - self._held, self._held - held
        self._held, self._held_until = held, self._renewed_at + self._duration.total_seconds()
        if gained or lost:
            _log.info("leases_changed", held=len(held), gained=_some(gained), lost=_some(lost))
        for org in gained:
            self._gained(org)

    async def release(self) -> None:
        """Release all leases, so that other replicas acquire them at once."""
        self._held = frozenset()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_RELEASE_TIMEOUT_S):
                await self._database.run(self._leases.release)


def _some(orgs: frozenset[str]) -> list[str]:
    return sorted(orgs)[:_MOST_NAMED] + (["…"] if len(orgs) > _MOST_NAMED else [])
