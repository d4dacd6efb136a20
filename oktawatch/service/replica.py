"""Which orgs this replica asks Okta about, where several share a database.

A lease lasts somewhat less than `service.lease_ttl` and is renewed well before it ends, so that within
that time after a replica was last heard of another one has noticed and polls its orgs.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.failure_log import FailureLog
from oktawatch.store.errors import StoppedError, StoreError
from oktawatch.store.leases import Leases, NameTakenError

_log: Any = structlog.get_logger(__name__)

_LASTS = 0.6  # of lease_ttl
_RENEWED = 0.1  # of lease_ttl: some renewals may fail before a lease is lost
_RELEASING = 1.0  # seconds that stopping spends on it at most
_NAMED = 5  # orgs in a line of the log


class Replica:
    """One replica's orgs, by its own clock never longer than by the database's."""

    def __init__(
        self,
        name: str,
        orgs: Sequence[str],
        database: DatabaseExecutor,
        *,
        lease_ttl: timedelta,
        database_trouble: FailureLog,
        gained: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``gained`` is told of each org that is to be polled from now on."""
        self.interval = lease_ttl * _RENEWED
        """How often `round` is due."""
        self._lasts = lease_ttl * _LASTS
        self._leases = Leases(name, orgs, lasts=self._lasts)
        self._database = database
        self._database_trouble = database_trouble
        self._name_trouble = FailureLog("lease", instance=name)
        self._gained = gained
        self._clock = clock
        self._held: frozenset[str] = frozenset()
        self._until = 0.0

    def holds(self, org: str) -> bool:
        """Whether the org is this replica's, at this moment."""
        return org in self._held and self._clock() < self._until

    async def round(self) -> None:
        """Renew, take and give up leases. A lease that can't be renewed runs out by itself."""
        begun = self._clock()
        try:
            await self._database.read_clock()
            held = await self._database.run(self._leases.keep)
        except StoppedError:
            return
        except NameTakenError as error:
            self._name_trouble.failed("name_taken", error)
            held = frozenset()
        except StoreError as error:
            self._database_trouble.failed("database", error)
            return
        else:
            self._name_trouble.ended()
            if not held:
                # With no org to poll, nothing else shows that the database can be written again.
                self._database_trouble.ended()
        gained, lost = held - self._held, self._held - held
        self._held, self._until = held, begun + self._lasts.total_seconds()
        if gained or lost:
            _log.info("leases_changed", held=len(held), gained=_some(gained), lost=_some(lost))
        for org in gained:
            self._gained(org)

    async def release(self) -> None:
        """Let others have them at once."""
        self._held = frozenset()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_RELEASING):
                await self._database.run(self._leases.release)


def _some(orgs: frozenset[str]) -> list[str]:
    return sorted(orgs)[:_NAMED] + (["…"] if len(orgs) > _NAMED else [])
