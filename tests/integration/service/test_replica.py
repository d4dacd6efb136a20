"""A replica holds its leases, and its failures are logged once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.replica import Replica
from oktawatch.store.errors import StoreError
from tests.support.databases import open_database
from tests.support.places import Kind, Place, place_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Place]:
    """Yield a place on Postgres with an org."""
    with place_of(Kind.POSTGRES, tmp_path) as place, open_database(place):
        yield place


@asynccontextmanager
async def running(
    server: Place, name: str, gained: list[str]
) -> AsyncIterator[tuple[Replica, DatabaseExecutor]]:
    """Yield a replica that polls the org ``acme``."""
    database = DatabaseExecutor(server.url)
    trouble = DatabaseTrouble(lost=lambda: None)
    yield (
        Replica(
            name,
            ["acme"],
            database,
            lease_ttl=timedelta(seconds=30),
            database_trouble=trouble,
            gained=gained.append,
        ),
        database,
    )
    database.close()


async def test_an_org_is_held_until_its_replica_releases_it(server: Place) -> None:
    """An org belongs to one replica at a time."""
    gained: list[str] = []
    async with running(server, "web-1", gained) as (first, _), running(server, "web-2", []) as (second, _):
        for replica in (first, second, first):
            assert await replica.round() is None
        assert (first.holds("acme"), second.holds("acme"), gained) == (True, False, ["acme"])
        await first.release()
        await second.round()
        assert (first.holds("acme"), second.holds("acme")) == (False, True)


async def test_a_name_that_another_replica_uses_is_logged_once(server: Place) -> None:
    """If a later process uses a replica's name, the replica holds no org any more, and logs this once."""
    async with running(server, "web-1", []) as (first, _), running(server, "web-1", []) as (second, _):
        await first.round()
        await second.round()
        with capture_logs() as logs:
            for _ in range(3):
                await first.round()
        failures = [(line["event"], line["reason"]) for line in logs if line["event"] != "leases_changed"]
        assert failures == [("lease_failed", "name_taken")]
        assert (first.holds("acme"), second.holds("acme")) == (False, True)


@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        (RuntimeError("can't start new thread"), "lease_failed", "unexpected"),
        (StoreError("the server is silent"), "database_failed", "database"),
    ],
)
async def test_failures_in_a_row_are_logged_once(
    server: Place, monkeypatch: pytest.MonkeyPatch, error: Exception, event: str, reason: str
) -> None:
    """Leases are kept until they expire, and the end of the failures is logged."""

    async def fail(*_: Any) -> None:
        await asyncio.sleep(0)
        raise error

    async with running(server, "web-1", []) as (replica, database):
        await replica.round()
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(database, "read_clock", fail)
            for _ in range(3):
                await replica.round()
            assert replica.holds("acme")
            patch.undo()
            await replica.round()
    ended = event.replace("failed", "recovered")
    assert [(line["event"], line.get("reason"), line.get("failures")) for line in logs] == [
        (event, reason, None),
        (ended, None, 3),
    ]
