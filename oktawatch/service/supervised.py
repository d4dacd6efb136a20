"""The base class of recurring jobs, which survive all failures.

Failures in a row are logged once, delay the job's next round increasingly, and do not affect other jobs. All
outcomes of rounds pass through here, so this is the place for metrics.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

from oktawatch.engine.evidence_updates import EvidenceUpdateError
from oktawatch.notify.channel import DeliveryError
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.store.leases import NameTakenError
from oktawatch.systemlog.errors import (
    PermissionMissingError,
    RequestRefusedError,
    SystemLogError,
    TokenRefusedError,
    WrongHostError,
)

T = TypeVar("T")

_FIXED_BY_PEOPLE = (TokenRefusedError, PermissionMissingError, WrongHostError, RequestRefusedError)


class Supervised(Generic[T]):
    """A job whose failures are caught, logged and counted. A subclass has a method ``round``, which calls `attempt`."""

    def __init__(
        self,
        failure_log: FailureLog,
        *,
        database_trouble: DatabaseTrouble | None = None,
        interval: timedelta | None = None,
        time_limit: timedelta | None = None,
        on_failure: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """Log failures to ``failure_log``.

        ``database_trouble`` collects the database failures of all jobs. Without it, the job logs its database failures
        itself. ``interval`` is the time between two rounds, for the back-off after failures; None disables the back-off.
        A round that takes longer than ``time_limit`` is cancelled. ``on_failure`` is called with the reason of each
        failed round, a short identifier such as ``token_refused``.
        """
        self.failures = 0
        """The number of failed rounds in a row."""
        self._failure_log = failure_log
        self._began = 0.0
        self._database_trouble = database_trouble
        self._interval = interval
        self._on_failure = on_failure
        self._time_limit_s = None if time_limit is None else time_limit.total_seconds()

    @property
    def failing(self) -> bool:
        """Whether the last round failed."""
        return self.failures > 0

    async def attempt(self, job: Callable[[], Awaitable[T]]) -> timedelta | None:
        """Run ``job`` once, and call `succeeded` or handle the failure.

        Return the delay until the next round, or None for the usual interval.
        """
        if self._database_trouble is not None:
            self._began = self._database_trouble.moment()
        try:
            async with asyncio.timeout(self._time_limit_s):
                result = await job()
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 -- a failure of one job, even a bug, must not affect the others
            self.failures += 1
            if self._log(error):
                await self.failed(error)
            return self._delay(error)
        self.failures = 0
        self._failure_log.ended()
        if self._database_trouble is not None:
            self._database_trouble.completed(self._failure_log.subject)
        return self.succeeded(result)

    def succeeded(self, _result: T) -> timedelta | None:
        """Handle the result of a round. Return the delay until the next round, or None for the usual interval."""
        return None

    async def failed(self, error: Exception) -> None:
        """Handle a failure of the job itself. Not called for database failures that ``database_trouble`` collects."""

    def database_works(self) -> None:
        """Record a successful write to the database."""
        if self._database_trouble is not None:
            self._database_trouble.wrote(self._failure_log.subject, began=self._began)

    def _log(self, error: Exception) -> bool:
        """Log a failure; return whether it is the job's own, and not one that ``database_trouble`` collects."""
        reason = _reason(error)
        self._on_failure(reason)
        if reason == _DATABASE and self._database_trouble is not None:
            self._database_trouble.failed(error, job=self._failure_log.subject)
            return False
        self._failure_log.failed(reason, error)
        return True

    def _delay(self, error: Exception) -> timedelta | None:
        if self._interval is None:
            return None
        return backoff(self.failures, self._interval, slowly=isinstance(error, _FIXED_BY_PEOPLE))


_DATABASE = "database"


def _reason(error: Exception) -> str:
    match error:
        case SystemLogError() | EvidenceUpdateError() | CursorMovedError() | NameTakenError():
            return error.reason
        case StoreError():
            return _DATABASE
        case DeliveryError():
            return "unreachable"
        case TimeoutError():
            return "timed_out"
        case _:
            return UNEXPECTED
