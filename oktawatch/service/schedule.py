"""Run jobs at intervals, one instance of each at a time, and stop them in order.

APScheduler decides by the wall clock when a job is due, and clocks get set: back by hours, forward by years on
a machine that boots without one. So each job's due time is kept by the monotonic clock (`_Interval`), and a
watch compares the two clocks every second. When they no longer agree, it logs ``clock_jumped`` and
reschedules every job by its monotonic due time. A job that was due several times meanwhile runs once.

The tasks of running jobs are kept here: APScheduler's own shutdown would cancel a job in the middle of a
page, log a traceback for it, and not wait until a transaction that had begun is committed.
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
"""A job's work. It returns the delay until the next run, or None for the job's usual interval."""

_JITTER = 0.1  # of the interval
_CLOCK_CHECK_S = 1.0
_CLOCK_TOLERANCE_S = 2.0
"""A smaller difference is how clocks are kept right, and delays nothing noticeably."""


class Schedule:
    """Jobs at intervals. Belongs to the running loop."""

    def __init__(self) -> None:
        # A run that is late is still due: by default one second would make it be skipped.
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
        """Add a job: first ``after`` a time, then at an interval that varies by a tenth unless ``exact``."""
        trigger = self._triggers[name] = _Interval(interval, jitter=0.0 if exact else _JITTER)
        self._scheduler.add_job(
            self._run, trigger, args=(name, work), id=name, next_run_time=trigger.due_in(after)
        )

    def again(self, name: str, after: timedelta = timedelta()) -> None:
        """Reschedule a job's next run. It is skipped if the job is still running by then."""
        self._scheduler.modify_job(name, next_run_time=self._triggers[name].due_in(after))

    def start(self) -> None:
        """Start running jobs."""
        self._scheduler.start()
        self._clock_watch = asyncio.create_task(self._watch_clock())

    async def stop(self, patience: timedelta) -> None:
        """Start no more jobs, cancel the running ones and wait until they have ended."""
        self._scheduler.pause()
        if self._clock_watch is not None:
            self._clock_watch.cancel()
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

    async def _watch_clock(self) -> None:
        # A task and no job: after a jump back it would be as asleep as the jobs.
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
    """An interval from one run to the next, which knows the due time by the monotonic clock.

    APScheduler's own interval trigger goes by the previous due time. After a jump it would list every run
    that was missed, which is memory without end when the clock goes forward by years.
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
        """Return the next due time by the wall clock as it is set now."""
        return utc_now() + timedelta(seconds=self._due - time.monotonic())

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return the due time after a run that begins now.

        It is later than ``now`` in any case: otherwise APScheduler would ask for ever.
        """
        delay = self.interval * (1 + self._jitter * random.random())  # noqa: S311 -- no secret
        self.due_in(delay)
        return now + delay
