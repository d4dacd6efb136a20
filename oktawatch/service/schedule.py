"""Run jobs at intervals, one instance of each at a time, and stop them gracefully.

APScheduler uses the wall clock, which can jump: back by hours, or forward by years on a machine that boots without a
real-time clock. So each job's due time is kept by the monotonic clock (`_Interval`), and a task compares the two
clocks every second. When they diverge, it logs ``clock_jumped`` and reschedules all jobs by their monotonic due
times. A job that was due several times in between runs once.

This module keeps the tasks of running jobs, because APScheduler's own shutdown would log a traceback for each
cancelled job, and not wait for its transaction to end.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from oktawatch.model.timestamps import utc_now

_log: Any = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[timedelta | None]]
"""A job's function. It returns the delay until the next run, or None for the job's usual interval."""

_JITTER = 0.1  # of the interval
_CLOCK_CHECK_S = 1.0
_CLOCK_TOLERANCE_S = 2.0
"""Smaller differences come from clock synchronization, and delay no job noticeably."""


class Schedule:
    """Runs jobs at intervals in the running event loop."""

    def __init__(self) -> None:
        # Run late jobs, too. By default, APScheduler skips a run that is over one second late.
        defaults = {"misfire_grace_time": None, "max_instances": 1, "coalesce": True}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._triggers: dict[str, _Interval] = {}
        self._running: dict[asyncio.Task[Any], asyncio.Task[timedelta | None]] = {}
        self._clock_watch: asyncio.Task[None] | None = None

    def every(
        self,
        interval: timedelta,
        name: str,
        work: Work,
        *,
        after: timedelta = timedelta(),
        exact: bool = False,
    ) -> None:
        """Add a job that first runs after the delay ``after``. Each interval is up to 10 % longer unless ``exact``."""
        trigger = self._triggers[name] = _Interval(interval, jitter=0.0 if exact else _JITTER)
        self._scheduler.add_job(
            self._run, trigger, args=(name, work), id=name, next_run_time=trigger.due_in(after)
        )

    def again(self, name: str, after: timedelta = timedelta()) -> None:
        """Run a job after a delay instead of at its next due time. The run is skipped if the job is still running then."""
        self._scheduler.modify_job(name, next_run_time=self._triggers[name].due_in(after))

    def start(self) -> None:
        """Start running jobs."""
        self._scheduler.start()
        self._clock_watch = asyncio.create_task(self._watch_clock())

    async def stop(self, time_limit: timedelta) -> None:
        """Start no more jobs, cancel the running ones and wait for their end, at most ``time_limit``."""
        self._scheduler.pause()
        if self._clock_watch is not None:
            self._clock_watch.cancel()
        for work in self._running.values():
            work.cancel()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=time_limit.total_seconds())
            if left:
                _log.error("jobs_left_running", jobs=sorted(task.get_name() for task in left))
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # the shutdown happens in the next iteration of the loop

    async def _run(self, name: str, work: Work) -> None:
        outer = asyncio.current_task()
        if outer is None:
            raise RuntimeError("a job must run in a task")
        outer.set_name(name)
        # A separate task, so that the scheduler does not see its cancellation as an error.
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

    async def _watch_clock(self) -> None:
        # A task and not a job: after a jump back, a job would be delayed like all the others.
        offset = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(_CLOCK_CHECK_S)
            jump_s = time.time() - time.monotonic() - offset
            if abs(jump_s) > _CLOCK_TOLERANCE_S:
                offset += jump_s
                _log.warning("clock_jumped", seconds=round(jump_s), now=utc_now())
                for name, trigger in self._triggers.items():
                    self._scheduler.modify_job(name, next_run_time=trigger.due_by_wall_clock())


class _Interval(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """An interval trigger that keeps the due time by the monotonic clock.

    APScheduler's own interval trigger computes each due time from the previous one. After a jump forward by years, it
    would list all missed runs and exhaust the memory.
    """

    def __init__(self, interval: timedelta, *, jitter: float) -> None:
        self.interval = interval
        self._jitter = jitter
        self._due = 0.0  # by the monotonic clock

    def due_in(self, delay: timedelta) -> datetime:
        """Set the next due time, and return it by the wall clock."""
        self._due = time.monotonic() + delay.total_seconds()
        return self.due_by_wall_clock()

    def due_by_wall_clock(self) -> datetime:
        """Return the next due time by the current wall clock."""
        return utc_now() + timedelta(seconds=self._due - time.monotonic())

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return the due time after a run that begins now.

        The due time must be later than ``now``, or APScheduler would loop forever.
        """
        delay = self.interval * (1 + self._jitter * random.random())  # noqa: S311 -- no secret
        self.due_in(delay)
        return now + delay
