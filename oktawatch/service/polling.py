"""One org, round after round, whatever goes wrong.

A round that fails ends here: it is told once a streak, remembered where `status` looks, and tried again
ever more slowly, so that no org can disturb another or the daemon. Nothing is lost meanwhile, because
the cursor stays where the last committed page left it.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult
from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.store.orgs import record_failure
from oktawatch.systemlog.errors import (
    PermissionMissingError,
    RequestRefusedError,
    SystemLogError,
    TokenRefusedError,
    WrongHostError,
)

DEADLINE = timedelta(minutes=5)
"""After it a round ends with the page it is at; the next one goes on there."""
HARD_DEADLINE = timedelta(minutes=6)
"""After it a round is cancelled wherever it is."""
_RECORDING = timedelta(minutes=1)

_MENDED_BY_PEOPLE = (TokenRefusedError, PermissionMissingError, WrongHostError, RequestRefusedError)


class Round(Protocol):
    """What `engine.poll.Poller` is to us."""

    async def round(self, *, deadline: float | None = None) -> PageResult:
        """Read until caught up or until the deadline. Raises SystemLogError or StoreError."""


class OrgPolling:
    """Polls one org without ever failing."""

    def __init__(
        self,
        org: str,
        poller: Round,
        database: DatabaseExecutor,
        *,
        interval: timedelta,
        database_trouble: FailureLog,
        enqueued: Callable[[], None],
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``database_trouble`` is shared by all orgs; ``enqueued`` is called when there is something to tell."""
        self.org = org
        self._poller = poller
        self._database = database
        self._interval = interval
        self._database_trouble = database_trouble
        self._enqueued = enqueued
        self._now = now or database.now
        self._clock = clock
        self._failure_log = FailureLog("poll", org=org)
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last round ended badly."""
        return self._failures > 0

    async def round(self) -> timedelta | None:
        """Poll once. Return the delay until the next round, or None for the usual interval."""
        deadline = self._clock() + DEADLINE.total_seconds()
        try:
            async with asyncio.timeout(HARD_DEADLINE.total_seconds()):
                result = await self._poller.round(deadline=deadline)
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 -- one org's trouble, even a bug, must not be another's
            return await self._failed(error)
        self._failures = 0
        self._failure_log.ended()
        self._database_trouble.ended()
        if result.notifications:
            self._enqueued()
        return timedelta() if self._clock() >= deadline else None

    async def _failed(self, error: Exception) -> timedelta:
        self._failures += 1
        if isinstance(error, StoreError) and not isinstance(error, CursorMovedError):
            # Every org has the same trouble: one line is enough, and there is nowhere to record it.
            self._database_trouble.failed("database", error)
        else:
            failure = self._too_long() if isinstance(error, TimeoutError) else error
            self._failure_log.failed(_reason(failure), failure)
            await self._record(failure)
        return backoff(self._failures, self._interval, slowly=isinstance(error, _MENDED_BY_PEOPLE))

    async def _record(self, error: Exception) -> None:
        known = isinstance(error, SystemLogError | StoreError)
        text = str(error) if known else f"{type(error).__name__}, see the log"
        try:
            async with asyncio.timeout(_RECORDING.total_seconds()):
                await self._database.run(record_failure, self.org, text, now=self._now())
        except (StoppedError, TimeoutError):
            return  # the log has it, and the next try records it again
        except StoreError as trouble:
            self._database_trouble.failed("database", trouble)
        else:
            self._database_trouble.ended()

    def _too_long(self) -> SystemLogError:
        minutes = HARD_DEADLINE // timedelta(minutes=1)
        return RoundTooLongError(
            f"the poll took over {minutes} min without an end ({self.org}): reading goes on where it was; "
            "see whether the org's rate limit is used up, or the network hangs, if it lasts"
        )


class RoundTooLongError(SystemLogError):
    """A round that was cancelled at its hard deadline."""

    reason = "timed_out"


def _reason(error: Exception) -> str:
    if isinstance(error, SystemLogError):
        return error.reason
    return "cursor_moved" if isinstance(error, CursorMovedError) else UNEXPECTED
