"""Fixtures of the engine's tests."""

from collections.abc import AsyncIterator

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.store.orgs import register_orgs
from tests.support.databases import NOW, ORG, create_schema
from tests.support.outbox import Clock
from tests.support.places import Place


@pytest.fixture
async def database(place: Place) -> AsyncIterator[DatabaseExecutor]:
    """Yield a new database with its own thread."""
    executor = DatabaseExecutor(place.url, create=True)
    await executor.run(create_schema)
    await executor.run(register_orgs, [ORG], now=NOW)
    yield executor
    executor.close()


@pytest.fixture
def clock() -> Clock:
    """Return a clock that the test controls."""
    return Clock()
