"""A daemon's row is there while it runs, and gone after it stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service import presence as presence_module
from oktawatch.service.presence import Presence
from oktawatch.store.daemons import Wait, WaitReason, read_daemons
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from tests.support.databases import create_schema
from tests.support.places import Place


@pytest.fixture
async def database(place: Place) -> AsyncIterator[DatabaseExecutor]:
    """Open a database with a schema."""
    executor = DatabaseExecutor(place.url, create=True)
    await executor.run(create_schema)
    yield executor
    executor.close()


async def test_each_write_replaces_the_row(database: DatabaseExecutor) -> None:
    """Each write replaces the row."""
    presence = Presence("web-1", database.now)
    await database.run(presence.write)
    presence.state = "watching 2 orgs"
    await database.run(presence.write)
    (row,) = await database.run(read_daemons)
    assert (row.name, row.state) == ("web-1", "watching 2 orgs")


async def test_a_late_write_does_not_restore_the_deleted_row(
    database: DatabaseExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that begins while the daemon stops does not bring the row back."""
    monkeypatch.setattr(
        presence_module, "_DELETE_WITHIN_S", 30.0
    )  # a loaded machine may take longer than a daemon waits
    presence = Presence("", database.now)
    await database.run(presence.write)
    ending = asyncio.create_task(presence.end(database))
    writes = [asyncio.create_task(database.run(presence.write)) for _ in range(8)]
    await asyncio.gather(ending, *writes, return_exceptions=True)
    assert read_daemons(database.database) == []


async def test_only_current_waits_are_written(database: DatabaseExecutor) -> None:
    """A wait that has ended when the row is written is not in the row."""
    presence = Presence("web-1", database.now)
    minute = timedelta(minutes=1)
    presence.waits = {
        "acme": Wait(until=database.now() + minute, reason=WaitReason.RATE_LIMIT),
        "globex": Wait(until=database.now() - minute, reason=WaitReason.BACK_OFF),
    }
    await database.run(presence.write)
    (row,) = await database.run(read_daemons)
    assert {org: wait.reason for org, wait in row.waits.items()} == {"acme": WaitReason.RATE_LIMIT}


async def test_a_state_that_was_not_written_is_outdated(database: DatabaseExecutor) -> None:
    """A changed state is outdated until a write of it begins, even if that write fails."""
    presence = Presence("web-1", database.now)
    outdated = []
    for state in ("starting", "watching 2 orgs"):
        presence.state = state
        outdated.append(presence.outdated)
        await database.run(presence.write)
        outdated.append(presence.outdated)
    assert outdated == [True, False] * 2
    presence.state = "watching 3 orgs"
    with closing(Database("sqlite://")) as without_schema, pytest.raises(StoreError):
        presence.write(without_schema)
    assert presence.outdated is False
