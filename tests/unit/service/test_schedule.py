"""Each job runs once at a time, can change its next time, ends in order, and survives clocks that jump."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import time_machine
from structlog.testing import capture_logs

from oktawatch.model.timestamps import utc_now
from oktawatch.service import schedule as schedule_module
from oktawatch.service.schedule import Schedule
from tests.support.waiting import eventually

HOUR = timedelta(hours=1)
PATIENCE = timedelta(seconds=4)


class Job:
    """Work that can be waited for."""

    def __init__(self, again: timedelta | None = None) -> None:
        self.runs = 0
        self.begun = asyncio.Event()
        self._again = again

    async def __call__(self) -> timedelta | None:
        """Run."""
        self.runs += 1
        self.begun.set()
        return self._again


class Hanging(Job):
    """Work that only ends when it is cancelled, and then not at once."""

    ended = False

    async def __call__(self) -> timedelta | None:
        """Hang."""
        self.runs += 1
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.ended = True
        return None


@pytest.fixture
async def schedule() -> AsyncIterator[Schedule]:
    """Yield a schedule, and stop it unless the test did."""
    made = Schedule()
    yield made
    if made._scheduler.running:
        await made.stop(PATIENCE)


def _due(schedule: Schedule, name: str) -> datetime:
    due: datetime = schedule._scheduler.get_job(name).next_run_time
    return due


async def _begun(*jobs: Job) -> None:
    async with asyncio.timeout(5):
        for job in jobs:
            await job.begun.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_the_first_run_is_at_once(schedule: Schedule) -> None:
    """A job first runs at once, and then at its interval with a jitter of at most a tenth."""
    job = Job()
    schedule.every(HOUR, "job", job)

    schedule.start()
    await _begun(job)

    assert job.runs == 1
    assert timedelta(minutes=59) < _due(schedule, "job") - utc_now() < 1.1 * HOUR


async def test_a_first_run_can_be_delayed(schedule: Schedule) -> None:
    """Jobs can be spread when they start."""
    now, later = Job(), Job()
    schedule.every(HOUR, "later", later, after=timedelta(minutes=5))
    schedule.every(HOUR, "now", now, exact=True)

    schedule.start()
    await _begun(now)

    assert later.runs == 0
    assert _due(schedule, "now") - utc_now() <= HOUR


async def test_the_result_of_a_job_sets_its_next_delay(schedule: Schedule) -> None:
    """The result of a run sets the delay of the next one."""
    job = Job(again=timedelta(minutes=4))
    schedule.every(HOUR, "job", job)

    schedule.start()
    await _begun(job)

    assert timedelta(minutes=3) < _due(schedule, "job") - utc_now() <= timedelta(minutes=4)


async def test_a_job_can_be_run_now(schedule: Schedule) -> None:
    """A job can be rescheduled to run now."""
    job = Job()
    schedule.every(HOUR, "job", job, after=HOUR)
    schedule.start()

    schedule.again("job")
    await _begun(job)

    assert job.runs == 1


async def test_a_running_job_is_not_started_again(schedule: Schedule) -> None:
    """A job that is still running is not started again."""
    job, other = Hanging(), Job()
    schedule.every(HOUR, "job", job)
    schedule.every(HOUR, "other", other, after=HOUR)
    schedule.start()
    await _begun(job)

    schedule.again("job")
    schedule.again("other")
    await _begun(other)

    assert job.runs == 1


async def test_an_exception_of_a_job_is_logged(schedule: Schedule) -> None:
    """A job that raises is logged by name and runs again at its interval."""

    async def broken() -> None:
        raise KeyError("a bug")

    done = Job()
    schedule.every(HOUR, "broken", broken)
    schedule.every(HOUR, "done", done)
    with capture_logs() as logs:
        schedule.start()
        await _begun(done)

    assert [(line["event"], line["job"], type(line["exc_info"])) for line in logs] == [
        ("job_failed", "broken", KeyError)
    ]
    assert _due(schedule, "broken") > utc_now()


async def test_stopping_waits_until_jobs_have_ended(
    schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled job ends by itself, and is not logged as a failure."""
    job = Hanging()
    schedule.every(HOUR, "job", job)
    schedule.start()
    await _begun(job)

    with caplog.at_level(logging.WARNING):
        await schedule.stop(PATIENCE)

    assert job.ended
    assert not schedule._scheduler.running
    assert caplog.records == []


async def test_stopping_does_not_wait_for_a_job_that_ignores_it(schedule: Schedule) -> None:
    """A job that ignores its cancellation is named in the log and left running."""
    release = asyncio.Event()
    begun = Job()

    async def deaf() -> None:
        await begun()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    schedule.every(HOUR, "deaf", deaf)
    schedule.start()
    await _begun(begun)

    with capture_logs() as logs:
        await schedule.stop(timedelta(milliseconds=10))
    release.set()
    await asyncio.sleep(0)

    assert [(line["event"], line["jobs"]) for line in logs] == [("jobs_left_running", ["deaf"])]


class Ticking(Job):
    """Work that is due every few milliseconds."""

    interval = timedelta(milliseconds=5)

    async def runs_on(self) -> None:
        """Wait until it has run twice more."""
        before = self.runs
        await eventually(lambda: self.runs > before + 1)


@pytest.fixture
def clock_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the clocks often, to keep the tests quick."""
    monkeypatch.setattr(schedule_module, "_CLOCK_CHECK_S", 0.005)


@pytest.mark.usefixtures("clock_checks")
@pytest.mark.parametrize("jump", [-2 * HOUR, -HOUR * 24 * 365 * 30, HOUR, HOUR * 24])
async def test_jobs_continue_when_the_clock_jumps(schedule: Schedule, jump: timedelta) -> None:
    """Jobs continue at their intervals when the clock jumps back or forward, and each jump is logged once."""
    job, rare = Ticking(), Job()
    schedule.every(job.interval, "job", job)
    schedule.every(timedelta(days=400), "rare", rare, after=timedelta(days=365))
    with capture_logs() as logs:
        schedule.start()
        await job.runs_on()
        with time_machine.travel(utc_now() + jump):
            await eventually(lambda: len(logs) == 1)
            await job.runs_on()
        await eventually(lambda: len(logs) == 2)
        await job.runs_on()

    assert [(line["event"], line["seconds"]) for line in logs] == [
        ("clock_jumped", pytest.approx(jump.total_seconds(), abs=2)),
        ("clock_jumped", pytest.approx(-jump.total_seconds(), abs=2)),
    ]
    assert rare.runs == 0
    assert timedelta(days=364) < _due(schedule, "rare") - utc_now() <= timedelta(days=365)


@pytest.mark.parametrize("exact", [True, False])
def test_missed_runs_are_not_counted(*, exact: bool) -> None:
    """After a clock jump, a job is due once, and no list of missed runs is built."""
    schedule = Schedule()
    schedule.every(HOUR, "job", Job(), exact=exact)
    (job,) = schedule._scheduler.get_jobs()
    job.next_run_time = utc_now()

    assert len(job._get_run_times(utc_now() + timedelta(days=10_000))) == 1


async def test_a_small_clock_correction_is_no_jump(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is corrected by a second has not jumped."""
    checks = 0

    async def sleep(_: float) -> None:
        nonlocal checks
        checks += 1
        await real_sleep(0)

    real_sleep = asyncio.sleep
    schedule.every(HOUR, "job", Job(), after=HOUR)
    with capture_logs() as logs, time_machine.travel(utc_now()) as traveller:
        schedule.start()
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for _ in range(10):
            traveller.shift(0.1)
            await real_sleep(0)
        monkeypatch.undo()

    assert checks > 5
    assert logs == []
