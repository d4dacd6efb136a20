"""The schedule: jobs at intervals, one instance of each, and an end in order.

APScheduler decides when; what runs is kept here as well. Its own shutdown would cancel a job in the
middle of a page and log a traceback for it, and would not wait until the cancelled job has come to its
end: until a transaction that had begun is committed.

A clock that is set back makes every job wait, the one that feeds the watchdog among them; so systemd
starts the daemon anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from oktawatch.model.timestamps import utc_now

_log: Any = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[timedelta | None]]
"""What a job does; gives in how long to do it again when that is not at the usual time."""

_JITTER = 0.1  # of the interval


class Schedule:
    """Jobs at intervals. Belongs to the running loop."""

    def __init__(self) -> None:
        # A run that is late is still due: by default one second would make it be skipped.
        defaults = {"misfire_grace_time": None, "max_instances": 1, "coalesce": True}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._running: dict[asyncio.Task[Any], asyncio.Task[timedelta | None]] = {}

    def every(
        self,
        interval: timedelta,
        name: str,
        work: Work,
        *,
        after: timedelta = timedelta(),
        exact: bool = False,
    ) -> None:
        """Add a job: first ``after`` a time, then at an interval that varies by a tenth unless ``exact``."""
        seconds = interval.total_seconds()
        self._scheduler.add_job(
            self._run,
            "interval",
            args=(name, work),
            id=name,
            seconds=seconds,
            jitter=None if exact else seconds * _JITTER,
            next_run_time=utc_now() + after,
        )

    def again(self, name: str, after: timedelta = timedelta()) -> None:
        """Run a job earlier or later than it is due. While it runs, a time that comes is passed over."""
        self._scheduler.modify_job(name, next_run_time=utc_now() + after)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    async def stop(self, patience: timedelta) -> None:
        """Start nothing more, cancel what runs and wait until it has come to its end."""
        self._scheduler.pause()
        for work in self._running.values():
            work.cancel()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=patience.total_seconds())
            if left:
                _log.error("jobs_left_running", jobs=sorted(task.get_name() for task in left))
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it shuts down in the loop's next turn

    async def _run(self, name: str, work: Work) -> None:
        outer = asyncio.current_task()
        if outer is None:
            raise RuntimeError("a job runs in a task")
        outer.set_name(name)
        # A task of its own, so that cancelling it is no exception to the scheduler.
        inner = self._running[outer] = asyncio.ensure_future(work())
        try:
            await asyncio.wait([inner])
        finally:
            del self._running[outer]
        if inner.cancelled():
            return
        if error := inner.exception():
            _log.error("job_failed", job=name, exc_info=error)
        elif (after := inner.result()) is not None:
            self.again(name, after)
