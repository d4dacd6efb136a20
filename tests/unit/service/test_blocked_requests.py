"""Blocked requests from anonymizers are looked for in one request, which may fail or take too long."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oktawatch.detection.rules.blocked_anonymizer import BlockedAnonymizer
from oktawatch.service.blocked_requests import SAMPLE, count_blocked_requests
from oktawatch.systemlog.errors import TimedOutError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW
from tests.support.streams import Script, event, page


async def test_requests_from_anonymizers_are_counted_in_one_page() -> None:
    """Requests that were blocked for another reason don't count."""
    blocked: dict[str, Any] = {"eventType": "security.request.blocked"}
    source = Script(
        {},
        first=page(
            [
                event(1, **blocked),
                event(2, **blocked),
                event(3, **blocked, securityContext={"isProxy": False}),
            ],
            following="/api/v1/logs?after=1",
        ),
    )
    assert await count_blocked_requests(source, BlockedAnonymizer(), NOW) == 2
    (asked,) = source.asked
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(asked).query).items()}
    assert parameters["filter"] == 'eventType eq "security.request.blocked"'
    assert parameters["limit"] == str(SAMPLE)
    assert parameters["since"] == f"{NOW - timedelta(days=7):%Y-%m-%dT%H:%M:%S}.000Z"


async def test_a_long_wait_is_an_error() -> None:
    """The check of an org doesn't wait for a rate limit that is used up."""

    class Waiting:
        async def page(self, query: str) -> Page:
            await asyncio.Event().wait()
            raise AssertionError(query)

    with pytest.raises(TimedOutError, match=r"no answer within 0\.01 s"):
        await count_blocked_requests(Waiting(), BlockedAnonymizer(), NOW, timeout_s=0.01)
