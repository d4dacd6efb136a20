"""Trouble with the database ends when the refused jobs can write again."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, insert
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.presence import Presence
from oktawatch.service.supervised import Supervised
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError, WriteFailedError
from oktawatch.store.orgs import register_orgs
from tests.support.databases import NOW, create_schema

FULL = WriteFailedError("the database refused (oktawatch.db): database or disk is full")
LOCKED = StoreError("the database refused (oktawatch.db): database is locked")
JOBS = ("poll acme", "poll globex", "delivery_round soc", "probe")


class Clock:
    """A monotonic clock that the test advances."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.time_s


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> DatabaseTrouble:
    """Return the trouble of a database that works."""
    return DatabaseTrouble(lost=lambda: None, clock=clock)


def test_another_jobs_write_does_not_end_a_full_disk(trouble: DatabaseTrouble) -> None:
    """On a full disk, another job's small write does not end the trouble. It is logged once, and ends when the page fits."""
    with capture_logs() as logs:
        trouble.failed(FULL, job="poll acme")
        for job in ("delivery_round soc", "probe", "poll globex", None):
            trouble.wrote(job)
            trouble.failed(FULL, job="poll acme")
        trouble.wrote("poll acme")

    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]
    assert (logs[1]["failures"], trouble.failures) == (5, 0)


def test_any_write_ends_a_lock(trouble: DatabaseTrouble) -> None:
    """A write of any job ends trouble in which no write was refused."""
    trouble.failed(LOCKED, job="poll acme")
    trouble.wrote("probe")
    assert trouble.failures == 0


def test_a_write_from_before_the_failure_does_not_end_the_trouble(
    trouble: DatabaseTrouble, clock: Clock
) -> None:
    """A write that began before the last failure doesn't end the trouble."""
    with capture_logs() as logs:
        began = trouble.moment()
        clock.time_s = 1
        trouble.failed(StoreError("the server ended the connection"), job="poll acme")
        trouble.wrote("poll globex", began=began)
        clock.time_s = 2
        trouble.failed(StoreError("the server is down"), job="poll acme")
        trouble.wrote("poll globex", began=trouble.moment())
    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]


def test_a_refusal_is_forgotten_after_ten_minutes(trouble: DatabaseTrouble, clock: Clock) -> None:
    """A refused write no longer counts after ten minutes, because its org may be unreachable, removed or polled elsewhere."""
    trouble.failed(FULL, job="poll acme")
    clock.time_s += 590
    trouble.wrote("probe")
    assert trouble.failures == 1
    clock.time_s += 20
    assert trouble.failures == 1
    trouble.wrote("probe")
    assert trouble.failures == 0


@given(st.lists(st.tuples(st.sampled_from(JOBS), st.sampled_from(["full", "locked", "wrote"])), max_size=30))
def test_trouble_lasts_until_all_refused_jobs_have_written(steps: list[tuple[str, str]]) -> None:
    """Trouble ends once all refused jobs have written, whatever happens in between."""
    trouble = DatabaseTrouble(lost=lambda: None, clock=Clock())
    refused: set[str] = set()
    failing = False
    for job, step in steps:
        if step in {"full", "locked"}:
            trouble.failed(FULL if step == "full" else LOCKED, job=job)
            failing = True
            refused |= {job} if step == "full" else set()
        else:
            trouble.wrote(job)
            refused.discard(job)
            failing = failing and bool(refused)
        assert (trouble.failures > 0) == failing


def test_trouble_is_measured_from_the_last_write(trouble: DatabaseTrouble, clock: Clock) -> None:
    """The duration is measured from the last write before the trouble; writes that did not end it don't count."""
    clock.time_s = 100
    trouble.wrote("probe")
    clock.time_s = 200
    trouble.failed(FULL, job="poll acme")
    clock.time_s = 300
    trouble.wrote("probe")
    assert trouble.duration == timedelta(seconds=200)
    trouble.wrote("poll acme")
    assert trouble.duration == timedelta()


class Pages(Supervised[int]):
    """A job that writes a page of a given size."""

    def __init__(self, database: DatabaseExecutor, trouble: DatabaseTrouble) -> None:
        super().__init__(FailureLog("poll", org="acme"), database_trouble=trouble)
        self._database = database
        self._pages = 0

    async def round(self) -> None:
        """Write a page."""
        self._pages += 1
        await self.attempt(lambda: self._database.run(self._write))

    def succeeded(self, _result: int) -> None:
        """Record the success."""
        self.database_works()

    def _write(self, database: Database) -> int:
        row = {
            "org": "acme",
            "fingerprint": str(self._pages),
            "received_at": NOW,
            "reason": "large",
            "raw": bytes(400_000),
        }
        with database.write() as connection:
            return connection.execute(insert(tables.rejected_events).values(row)).rowcount


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[DatabaseExecutor]:
    """Open an SQLite file that may not grow by more than some pages."""
    executor = DatabaseExecutor(f"sqlite:///{tmp_path / 'oktawatch.db'}", create=True)
    await executor.run(create_schema)
    await executor.run(register_orgs, ["acme"], now=NOW)
    yield executor
    executor.close()


async def test_a_disk_with_space_for_small_rows_causes_one_trouble(
    file: DatabaseExecutor, trouble: DatabaseTrouble
) -> None:
    """A disk on which SQLite refuses pages but accepts the daemon's small row causes one trouble, not many."""
    pages_free = [20]

    def limit(connection: sqlite3.Connection, *_: Any) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {used + pages_free[0]}")

    event.listen(file.database._engine, "checkout", limit)
    job, presence = Pages(file, trouble), Presence("host", file.now)
    with capture_logs() as logs:
        for _ in range(3):
            await job.round()
            await file.run(presence.write)
            trouble.wrote("probe")
        pages_free[0] = 1_000
        await job.round()

    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]
    assert logs[0]["error"].endswith("database or disk is full")
