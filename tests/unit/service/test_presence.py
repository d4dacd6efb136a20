"""A daemon's row is there while it runs, and gone after it stopped."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.presence import Presence
from oktawatch.store.daemons import read_daemons
from tests.support.databases import create_schema
from tests.support.places import Place


@pytest.fixture
async def database(place: Place) -> AsyncIterator[DatabaseExecutor]:
    """Open a database with a schema."""
    executor = DatabaseExecutor(place.url, create=True)
    await executor.run(create_schema)
    yield executor
    executor.close()


async def test_the_row_has_the_present_state(database: DatabaseExecutor) -> None:
    """Each write replaces the row."""
    presence = Presence("web-1", database.now)
    await database.run(presence.write)
    presence.state = "watching 2 orgs"
    await database.run(presence.write)
    (row,) = await database.run(read_daemons)
    assert (row.name, row.state) == ("web-1", "watching 2 orgs")


async def test_no_row_is_left_behind(database: DatabaseExecutor) -> None:
    """A write that begins while the daemon stops does not bring the row back."""
    presence = Presence("", database.now)
    await database.run(presence.write)
    ending = asyncio.create_task(presence.end(database))
    writes = [asyncio.create_task(database.run(presence.write)) for _ in range(8)]
    await asyncio.gather(ending, *writes, return_exceptions=True)
    assert read_daemons(database.database) == []
