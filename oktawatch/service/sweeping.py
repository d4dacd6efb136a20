"""Sweep one org in rounds, each after a poll that caught up, because polling has priority."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from oktawatch.engine.pipeline import PageResult
from oktawatch.engine.poll import CaughtUp
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

TIME_LIMIT = timedelta(minutes=30)
"""Time limit of a round. Reading hours of events takes many requests."""
SOON = timedelta(minutes=1)
"""The delay of a sweep that is due while its org has not caught up."""


class OrgSweeping(Supervised[PageResult]):
    """The sweeps of one org."""

    def __init__(
        self,
        org: str,
        sweep: Callable[[CaughtUp], Awaitable[PageResult]],
        *,
        interval: timedelta,
        caught_up: Callable[[], CaughtUp | None],
        database_trouble: DatabaseTrouble,
        enqueued: Callable[[], None],
    ) -> None:
        """Sweep with ``sweep``: `engine.sweep.Sweeper.round`.

        ``caught_up`` returns the time at which polling last caught up, or None if its last round did not. ``enqueued`` is
        called when there are notifications to send.
        """
        super().__init__(
            FailureLog("sweep", org=org),
            database_trouble=database_trouble,
            interval=interval,
            time_limit=TIME_LIMIT,
        )
        self.org = org
        self._sweep = sweep
        self._caught_up = caught_up
        self._enqueued = enqueued

    async def round(self) -> timedelta | None:
        """Sweep once if polling has caught up. Otherwise return `SOON`, the delay until the next attempt."""
        polled = self._caught_up()
        if polled is None:
            return SOON
        return await self.attempt(partial(self._sweep, polled))

    def succeeded(self, result: PageResult) -> timedelta | None:
        """Trigger deliveries if there are notifications."""
        self.database_works()
        if result.notifications:
            self._enqueued()
        return None
