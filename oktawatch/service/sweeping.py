"""One org's sweeps, round after round, whatever goes wrong."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from oktawatch.engine.pipeline import PageResult
from oktawatch.engine.poll import CaughtUp
from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff
from oktawatch.store.errors import StoppedError, StoreError
from oktawatch.systemlog.errors import SystemLogError

HARD_DEADLINE = timedelta(minutes=30)
"""After it a sweep is cancelled wherever it is: hours of a busy org's events take many requests."""
SOON = timedelta(minutes=1)
"""How long a sweep waits that is due while its org has not caught up."""


class Round(Protocol):
    """What `engine.sweep.Sweeper` is to us."""

    async def round(self, polled: CaughtUp) -> PageResult:
        """Read the window before a poll that caught up; raise SystemLogError or StoreError."""


class OrgSweeping:
    """Sweeps one org without ever failing, and only when it has caught up: polling goes first."""

    def __init__(
        self,
        org: str,
        sweeper: Round,
        *,
        interval: timedelta,
        caught_up: Callable[[], CaughtUp | None],
        database_trouble: FailureLog,
        enqueued: Callable[[], None],
    ) -> None:
        """``caught_up`` gives how far polling has come; ``enqueued`` is called when there is something to tell."""
        self.org = org
        self._sweeper = sweeper
        self._interval = interval
        self._caught_up = caught_up
        self._database_trouble = database_trouble
        self._enqueued = enqueued
        self._failure_log = FailureLog("sweep", org=org)

    async def round(self) -> timedelta | None:
        """Sweep once; give in how long to sweep again when that is not at the usual time."""
        polled = self._caught_up()
        if polled is None:
            return SOON
        try:
            async with asyncio.timeout(HARD_DEADLINE.total_seconds()):
                result = await self._sweeper.round(polled)
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 -- one org's trouble, even a bug, must not be another's
            return self._failed(error)
        self._failure_log.ended()
        self._database_trouble.ended()
        if result.notifications:
            self._enqueued()
        return None

    def _failed(self, error: Exception) -> timedelta:
        if isinstance(error, StoreError):
            self._database_trouble.failed("database", error)
            return backoff(1, self._interval)
        if isinstance(error, TimeoutError):
            reason = "timed_out"
        else:
            reason = error.reason if isinstance(error, SystemLogError) else UNEXPECTED
        self._failure_log.failed(reason, error)
        return backoff(self._failure_log.failures, self._interval)
