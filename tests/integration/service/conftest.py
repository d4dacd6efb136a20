"""A server that publishes a list of networks."""

from collections.abc import AsyncIterator

import pytest

from tests.support.fetched_evidence import OLD
from tests.support.http import listening
from tests.support.publisher import Publisher


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    """Serve a list of ten addresses."""
    async with listening(receiver=Publisher(OLD, etag='"one"')) as receiver:
        assert isinstance(receiver, Publisher)
        yield receiver
