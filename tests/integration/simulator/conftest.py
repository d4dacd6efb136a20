"""A simulated org with a stopped clock, and a client with permission to read it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from oktawatch.simulator import SimulatedOrg, serve
from tests.support.logclient import TOKEN, Client, Clock


@pytest.fixture
def clock() -> Clock:
    """Return the org's clock."""
    return Clock()


@pytest.fixture
def org(clock: Clock) -> SimulatedOrg:
    """Return an org without events."""
    return SimulatedOrg(now=clock, token=TOKEN)


@pytest.fixture
async def client(org: SimulatedOrg) -> AsyncIterator[Client]:
    """Serve the org, and return a client with its token."""
    headers = {"Authorization": f"SSWS {TOKEN}"}
    async with serve(org) as url, aiohttp.ClientSession(headers=headers) as session:
        yield Client(url, session)
