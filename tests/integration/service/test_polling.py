"""The rounds of an org end, and failures are logged, recorded and retried."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult
from oktawatch.service import polling
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.polling import DEADLINE, OrgPolling
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.store.orgs import register_orgs
from oktawatch.store.status import OrgStatus, org_statuses
from oktawatch.systemlog.errors import (
    PermissionMissingError,
    RequestRefusedError,
    SystemLogError,
    TokenRefusedError,
    UnavailableError,
    WrongHostError,
)
from tests.support.databases import create_schema
from tests.support.places import Place

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


class Rounds:
    """A poller whose rounds end as the test sets."""

    def __init__(self, *ends: PageResult | Exception) -> None:
        self.ends = list(ends)
        self.deadlines: list[float | None] = []

    async def round(self, *, deadline: float | None = None) -> PageResult:
        """End."""
        self.deadlines.append(deadline)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


class Hanging:
    """A poller whose rounds end only when they are cancelled."""

    cancelled = False

    async def round(self, *, deadline: float | None = None) -> PageResult:
        """Hang."""
        assert deadline is not None
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError


@pytest.fixture
async def database(place: Place) -> AsyncIterator[DatabaseExecutor]:
    """Open a database that knows the orgs."""
    executor = DatabaseExecutor(place.url, create=True)
    await executor.run(create_schema)
    await executor.run(register_orgs, ["acme", "globex"], now=NOW)
    yield executor
    executor.close()


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Collect the log."""
    with capture_logs() as lines:
        yield lines


class Org:
    """The polling of an org, with a record of its callbacks."""

    def __init__(
        self,
        database: DatabaseExecutor,
        poller: Rounds | Hanging,
        *,
        trouble: DatabaseTrouble | None = None,
        name: str = "acme",
    ) -> None:
        self.time = NOW
        self.enqueued = 0
        self.held = True
        self._database = database
        self._name = name
        self.polling = OrgPolling(
            name,
            poller.round,
            database,
            interval=INTERVAL,
            database_trouble=trouble or DatabaseTrouble(lost=lambda: None),
            enqueued=self._count,
            holds=lambda: self.held,
            now=lambda: self.time,
            clock=self._monotonic,
        )

    def _monotonic(self) -> float:
        return (self.time - NOW).total_seconds()

    def _count(self) -> None:
        self.enqueued += 1

    async def rounds(self, count: int) -> list[timedelta | None]:
        """Run some rounds; return the delay after each."""
        return [await self.polling.round() for _ in range(count)]

    async def status(self) -> OrgStatus:
        """Return the row that `status` reads."""
        (found,) = [status for status in await self._database.run(org_statuses) if status.org == self._name]
        return found


def _events(logs: list[EventDict]) -> list[str]:
    return [line["event"] for line in logs]


async def test_a_round_that_caught_up_is_followed_at_the_usual_time(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A round that caught up is followed by one at the usual time, with a deadline of five minutes."""
    poller = Rounds(PageResult())
    org = Org(database, poller)

    assert await org.rounds(1) == [None]

    assert poller.deadlines == [300.0]
    assert (org.enqueued, org.polling.failing, logs) == (0, False, [])


async def test_new_notifications_are_delivered_at_once(database: DatabaseExecutor) -> None:
    """A round with new notifications triggers their delivery at once."""
    org = Org(database, Rounds(PageResult(notifications=2)))

    await org.rounds(1)

    assert org.enqueued == 1


async def test_a_round_that_reached_its_deadline_continues_at_once(database: DatabaseExecutor) -> None:
    """A round that reached its deadline continues at once."""
    org = Org(database, Rounds(PageResult(), PageResult()))
    moments = iter([0.0, DEADLINE.total_seconds()])
    org.polling._clock = lambda: next(moments)

    assert await org.rounds(1) == [timedelta()]


async def test_failures_in_a_row_are_logged_and_recorded(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """Failures in a row are logged once, are recorded for `status`, and their end is logged."""
    down = [UnavailableError(f"the org can't be reached, try {n}") for n in range(3)]
    org = Org(database, Rounds(*down, PageResult()))

    waits = await org.rounds(3)
    status = await org.status()
    await org.rounds(1)

    assert waits == sorted(wait for wait in waits if wait is not None)
    assert (status.last_error, status.last_error_at) == ("the org can't be reached, try 2", NOW)
    assert _events(logs) == ["poll_failed", "poll_recovered"]
    assert (logs[0]["org"], logs[0]["reason"]) == ("acme", "unavailable")
    assert org.polling.failing is False


@pytest.mark.parametrize(
    "kind", [TokenRefusedError, PermissionMissingError, WrongHostError, RequestRefusedError]
)
async def test_a_failure_that_a_person_must_fix_is_retried_less_often(
    database: DatabaseExecutor, kind: type[SystemLogError]
) -> None:
    """A failure that a person must fix is retried less often."""
    org = Org(database, Rounds(kind("refused"), kind("refused")))

    first, second = await org.rounds(2)

    assert first is not None
    assert second is not None
    assert 1.5 * MINUTE <= first <= 2.5 * MINUTE
    assert 3 * MINUTE <= second <= 5 * MINUTE


async def test_a_database_failure_is_logged_once_for_all_orgs(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A database failure is logged once, however many orgs it affects, and once when it is over."""
    trouble = DatabaseTrouble(lost=lambda: None)
    orgs = [
        Org(database, Rounds(StoreError("disk full"), PageResult()), trouble=trouble, name=name)
        for name in ("acme", "globex")
    ]

    for org in (*orgs, *orgs):
        await org.rounds(1)

    assert _events(logs) == ["database_failed", "database_recovered"]
    assert (await orgs[0].status()).last_error is None


async def test_recording_a_failure_does_not_end_a_database_failure(database: DatabaseExecutor) -> None:
    """A recorded failure does not end the database's failures, because a full disk may accept the update."""
    trouble = DatabaseTrouble(lost=lambda: None)
    trouble.failed(StoreError("disk full"))
    org = Org(database, Rounds(UnavailableError("no route")), trouble=trouble)

    await org.rounds(1)

    assert trouble.failures == 1
    assert (await org.status()).last_error == "no route"


async def test_a_failure_that_cannot_be_recorded_is_logged(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A failure of an org is logged even if it can't be recorded, and so is the database's failure."""
    database.close()
    broken = DatabaseExecutor("sqlite:////proc/nowhere.db", create=True)
    org = Org(broken, Rounds(UnavailableError("no route")))

    (wait,) = await org.rounds(1)
    broken.close()

    assert wait is not None
    assert _events(logs) == ["poll_failed", "database_failed"]


async def test_a_cursor_moved_by_another_process_is_a_failure_of_the_org(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A cursor that another process moves again and again is a failure of the org, not of the database."""
    moved = CursorMovedError("the cursor of acme was moved by another writer")
    org = Org(database, Rounds(moved, moved))

    await org.rounds(1)

    assert [(line["event"], line["reason"]) for line in logs] == [("poll_failed", "cursor_moved")]
    assert (await org.status()).last_error == "the cursor of acme was moved by another writer"


async def test_a_cursor_moved_once_is_read_again_without_a_failure(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A cursor that was moved once is read again in the same round, and within its deadline."""
    rounds = Rounds(
        CursorMovedError("the cursor of acme was moved by another writer"), PageResult(notifications=1)
    )
    org = Org(database, rounds)

    assert await org.rounds(1) == [None]

    assert (logs, rounds.ends, org.enqueued) == ([], [], 1)
    assert len(set(rounds.deadlines)) == 1
    assert (await org.status()).last_error is None


async def test_an_org_that_was_handed_over_has_not_failed(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """A replica that loses an org during a poll reports no failure."""
    org = Org(database, Rounds(CursorMovedError("the cursor of acme was moved by another writer")))
    org.held = False

    assert await org.rounds(1) == [None]

    assert logs == []
    assert not org.polling.failing
    assert (await org.status()).last_error is None


async def test_an_unexpected_exception_is_logged_as_a_failure(
    database: DatabaseExecutor, logs: list[EventDict]
) -> None:
    """An unexpected exception is logged as a failure, and its text is not stored."""
    org = Org(database, Rounds(KeyError("somebody@example.com"), PageResult()))

    first, second = await org.rounds(2)

    assert first is not None
    assert second is None
    assert _events(logs) == ["poll_failed", "poll_recovered"]
    assert (logs[0]["reason"], type(logs[0]["exc_info"])) == ("unexpected", KeyError)


async def test_an_unexpected_exception_is_recorded_by_its_kind(database: DatabaseExecutor) -> None:
    """`status` names the kind of exception and where to look."""
    org = Org(database, Rounds(KeyError("somebody@example.com")))

    await org.rounds(1)

    assert (await org.status()).last_error == "KeyError, see the log"


async def test_a_round_that_passes_its_hard_deadline_is_cancelled(
    database: DatabaseExecutor, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that passes its hard deadline is cancelled and reported as a failure."""
    monkeypatch.setattr(polling, "HARD_DEADLINE", timedelta())
    poller = Hanging()
    org = Org(database, poller)

    (wait,) = await org.rounds(1)

    assert poller.cancelled
    assert wait is not None
    assert [(line["event"], line["reason"]) for line in logs] == [("poll_failed", "timed_out")]
    assert "did not end within 0 min (acme)" in str((await org.status()).last_error)


async def test_a_stop_is_not_logged_as_a_failure(database: DatabaseExecutor, logs: list[EventDict]) -> None:
    """A transaction that is abandoned because the daemon stops is not logged as a failure."""
    org = Org(database, Rounds(StoppedError("stopping")))

    assert await org.rounds(1) == [None]

    assert logs == []


async def test_a_stop_cancels_the_running_request(database: DatabaseExecutor) -> None:
    """A stop cancels the running request."""
    poller = Hanging()
    task = asyncio.create_task(Org(database, poller).polling.round())
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert poller.cancelled
