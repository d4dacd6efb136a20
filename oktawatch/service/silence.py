"""Check regularly for silent orgs, orgs with unusable events, and failing notifiers."""

from collections.abc import Callable
from datetime import timedelta

from oktawatch.engine.silence import SilenceWatch
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

_LONGEST_INTERVAL = timedelta(seconds=30)


def check_interval(after: timedelta) -> timedelta:
    """Return the time between two checks, short enough to notice soon that an org has been silent for ``after``."""
    return min(_LONGEST_INTERVAL, after / 2)


class SilenceChecks(Supervised[bool]):
    """The recurring silence check."""

    def __init__(
        self,
        watch: SilenceWatch,
        *,
        database_trouble: DatabaseTrouble,
        enqueued: Callable[[], None],
        complete: Callable[[], None],
    ) -> None:
        """Check with ``watch``.

        ``enqueued`` is called when there are messages to send. ``complete`` is called when there are none, and each org was
        recently polled successfully or already has an alarm.
        """
        super().__init__(FailureLog("silence_check"), database_trouble=database_trouble)
        self._watch = watch
        self._enqueued = enqueued
        self._complete = complete

    async def round(self) -> timedelta | None:
        """Check once."""
        return await self.attempt(self._watch.check)

    def succeeded(self, enqueued: bool) -> timedelta | None:
        """Trigger deliveries if there are messages to send."""
        if enqueued:
            self.database_works()
            self._enqueued()
        elif not self._watch.undecided:
            self._complete()
        return None
