"""Every job of the daemon survives its failures in the same way."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.notify.channel import DeliveryError
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.systemlog.errors import SystemLogError, TokenRefusedError

INTERVAL = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


class Job(Supervised[int]):
    """A job that keeps what its hooks got."""

    def __init__(self, *, shared: bool = True, interval: timedelta | None = INTERVAL) -> None:
        super().__init__(
            FailureLog("job", org="acme"),
            database_trouble=DatabaseTrouble(lost=lambda: None) if shared else None,
            interval=interval,
            time_limit=timedelta(milliseconds=1),
        )
        self.hooked: list[Any] = []

    def succeeded(self, result: int) -> timedelta | None:
        """Record the result."""
        self.hooked.append(result)
        self.database_works()
        return timedelta(seconds=result) if result else None

    async def failed(self, error: Exception) -> None:
        """Record the type of the error."""
        self.hooked.append(type(error))


def _raising(error: Exception) -> Callable[[], Awaitable[int]]:
    async def job() -> int:
        raise error

    return job


async def _done() -> int:
    return 7


async def _hang() -> int:
    await asyncio.Event().wait()
    return 0


async def test_the_hook_gets_the_result() -> None:
    """The hook gets the result and decides when the next round is due."""
    job = Job()

    assert await job.attempt(_done) == timedelta(seconds=7)

    assert (job.hooked, job.failing) == ([7], False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemLogError("Okta is down"), SystemLogError.reason),
        (CursorMovedError("moved"), "cursor_moved"),
        (DeliveryError("no answer"), "unreachable"),
        (TimeoutError(), "timed_out"),
        (KeyError("a bug"), "unexpected"),
    ],
)
async def test_a_failure_of_the_job_is_logged_with_its_reason(error: Exception, reason: str) -> None:
    """A failure of the job itself is logged with its reason, is passed to the hook, and its end is logged."""
    job = Job()
    with capture_logs() as logs:
        await job.attempt(_raising(error))
        assert job.failing
        await job.attempt(_done)

    assert [line["event"] for line in logs] == ["job_failed", "job_recovered"]
    assert (logs[0]["reason"], logs[0]["org"]) == (reason, "acme")
    assert job.hooked == [type(error), 7]


async def test_all_jobs_share_the_database_failure() -> None:
    """All jobs share the database's failure log, and the hook does not get its failures."""
    job = Job()
    with capture_logs() as logs:
        await job.attempt(_raising(StoreError("disk full")))
        assert job.failing
        await job.attempt(_done)

    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]
    assert job.hooked == [7]


async def test_a_job_without_a_shared_log_logs_database_failures() -> None:
    """Without a shared log, a database failure is logged as the job's, with its reason."""
    with capture_logs() as logs:
        await Job(shared=False).attempt(_raising(StoreError("disk full")))

    assert [(line["event"], line["reason"]) for line in logs] == [("job_failed", "database")]


async def test_a_round_is_cancelled_at_its_time_limit() -> None:
    """A round ends by its time limit."""
    with capture_logs() as logs:
        await Job().attempt(_hang)

    assert [line["reason"] for line in logs] == ["timed_out"]


async def test_a_stop_is_not_logged_as_a_failure() -> None:
    """A transaction that is abandoned by a stop is not logged."""
    job = Job()
    with capture_logs() as logs:
        assert await job.attempt(_raising(StoppedError("stopping"))) is None

    assert (logs, job.hooked, job.failing) == ([], [], False)


async def test_failures_delay_the_next_round() -> None:
    """Each failure in a row doubles the delay, and failures that need a person are retried less often."""
    usual, slow = Job(), Job()
    for error, job in ((SystemLogError("down"), usual), (TokenRefusedError("refused"), slow)):
        delays = [await job.attempt(_raising(error)) for _ in range(3)]
        assert delays == sorted(filter(None, delays))
    first = await Job().attempt(_raising(SystemLogError("down")))
    first_slow = await Job().attempt(_raising(TokenRefusedError("refused")))

    assert first is not None
    assert first_slow is not None
    assert first < MINUTE < first_slow


async def test_failures_do_not_delay_a_job_without_an_interval() -> None:
    """Without an interval, failures don't delay the next round."""
    assert await Job(interval=None).attempt(_raising(SystemLogError("down"))) is None
