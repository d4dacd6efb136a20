"""Poll one org in rounds.

Failures in a row are logged once and recorded for `oktawatch status`. No events are lost, because the cursor
stays at the end of the last committed page.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.store.orgs import record_failure
from oktawatch.systemlog.errors import SystemLogError

DEADLINE = timedelta(minutes=5)
"""A round that takes longer ends after the current page. The next round continues with the next page."""
HARD_DEADLINE = timedelta(minutes=6)
"""A round that takes longer is cancelled."""
_RECORDING_LIMIT_S = 60.0


class Poll(Protocol):
    """Polls until caught up or until the deadline: `engine.poll.Poller.round`."""

    async def __call__(self, *, deadline: float | None = None) -> PageResult:
        """Poll. Raises SystemLogError or StoreError."""


class OrgPolling(Supervised[PageResult]):
    """The polling of one org."""

    def __init__(
        self,
        org: str,
        poll: Poll,
        database: DatabaseExecutor,
        *,
        interval: timedelta,
        database_trouble: DatabaseTrouble,
        enqueued: Callable[[], None],
        holds: Callable[[], bool],
        on_failure: Callable[[str], None] = lambda _reason: None,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``enqueued`` is called when there are notifications to send.

        ``holds`` returns whether this process polls the org. ``on_failure`` is called as in `Supervised`.
        """
        super().__init__(
            FailureLog("poll", org=org),
            database_trouble=database_trouble,
            interval=interval,
            on_failure=on_failure,
        )
        self.org = org
        self._poll = poll
        self._database = database
        self._trouble = database_trouble
        self._enqueued = enqueued
        self._holds = holds
        self._now = now or database.now
        self._clock = clock
        self._deadline = 0.0

    async def round(self) -> timedelta | None:
        """Poll once. Return the delay until the next round, or None for the usual interval."""
        return await self.attempt(self._poll_in_time)

    async def _poll_in_time(self) -> PageResult:
        self._deadline = self._clock() + DEADLINE.total_seconds()
        try:
            async with asyncio.timeout(HARD_DEADLINE.total_seconds()):
                return await self._poll_again_if_moved()
        except TimeoutError:
            minutes = HARD_DEADLINE // timedelta(minutes=1)
            raise RoundTooLongError(
                f"the poll did not end within {minutes} min ({self.org}): the next one continues after the last stored page; if this "
                "repeats, check whether the org's rate limit is used up or the network hangs"
            ) from None

    async def _poll_again_if_moved(self) -> PageResult:
        """Poll. If another process has moved the cursor meanwhile, poll once more.

        The replica that polled this org before may still commit a page that it had fetched. Raises HandedOverError if
        this process no longer polls the org.
        """
        try:
            return await self._poll(deadline=self._deadline)
        except CursorMovedError as error:
            if not self._holds():
                raise HandedOverError(str(error)) from error
        return await self._poll(deadline=self._deadline)

    def succeeded(self, result: PageResult) -> timedelta | None:
        """Trigger deliveries if there are notifications. Continue at once if the deadline ended the round."""
        self.database_works()
        if result.notifications:
            self._enqueued()
        return timedelta() if self._clock() >= self._deadline else None

    async def failed(self, error: Exception) -> None:
        """Record the failure for `oktawatch status`."""
        known = isinstance(error, SystemLogError | StoreError)
        text = str(error) if known else f"{type(error).__name__}, see the log"
        # This write doesn't end the database's trouble: a full disk may accept it and still refuse pages.
        try:
            async with asyncio.timeout(_RECORDING_LIMIT_S):
                await self._database.run(record_failure, self.org, text, now=self._now())
        except (StoppedError, TimeoutError):
            return  # the failure is in the log, and the next one can be recorded
        except StoreError as trouble:
            self._trouble.failed(trouble)


class HandedOverError(StoppedError):
    """Another replica took over the org and moved the cursor, so the page was rolled back. This is not a failure."""


class RoundTooLongError(SystemLogError):
    """A round was cancelled at its hard deadline."""

    reason = "timed_out"
