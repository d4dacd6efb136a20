"""Check in rounds for silent orgs and failing notifiers."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

_LONGEST_INTERVAL = timedelta(seconds=30)


def interval(after: timedelta) -> timedelta:
    """Return the time between two rounds, short enough to detect silence soon after ``after``."""
    return min(_LONGEST_INTERVAL, after / 2)


class SilenceChecks(Supervised[bool]):
    """The rounds of the silence alarm."""

    def __init__(
        self,
        check: Callable[[], Awaitable[bool]],
        *,
        database_trouble: DatabaseTrouble,
        enqueued: Callable[[], None],
    ) -> None:
        """Check with ``check``: `engine.silence.SilenceWatch.check`.

        Call ``enqueued`` when there are alarms to send.
        """
        super().__init__(FailureLog("silence_check"), database_trouble=database_trouble)
        self._check = check
        self._enqueued = enqueued

    async def round(self) -> timedelta | None:
        """Check once."""
        return await self.attempt(self._check)

    def succeeded(self, enqueued: bool) -> timedelta | None:
        """Trigger deliveries if there are alarms."""
        if enqueued:
            self.database_works()
            self._enqueued()
        return None
