"""The wait after status 429 uses the server's clock."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.systemlog.ratelimit import Limits, pause_after
from tests.support.shared import shared_data

DATE = "Tue, 24 Nov 2026 08:00:00 GMT"
EPOCH = int(parsedate_to_datetime(DATE).timestamp())


def _pause(headers: dict[str, str], attempt: int = 0) -> float:
    return pause_after(Limits.read(headers), attempt)


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        (EPOCH + 30, 31),
        (EPOCH, 1),
        (EPOCH - 500, 1),
        (EPOCH + 64, 65),
        (EPOCH + 10_000, 65),
        (999_999_999_999, 65),
        (0, 1),
    ],
)
def test_the_wait_is_a_second_longer_than_the_servers(reset: int, expected: int) -> None:
    """The wait is a second longer than by the server's clock, and limited to 1 to 65 seconds."""
    assert _pause({"X-Rate-Limit-Reset": f" {reset} ", "Date": DATE}) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": DATE},
        {"X-Rate-Limit-Reset": str(EPOCH + 30)},
        {"X-Rate-Limit-Reset": str(EPOCH + 30), "Date": "now"},
        {"X-Rate-Limit-Reset": "soon", "Date": DATE},
        {"X-Rate-Limit-Reset": "-5", "Date": DATE},
        {"X-Rate-Limit-Reset": "1.5", "Date": DATE},
        {"X-Rate-Limit-Reset": "\u0665", "Date": DATE},
        {"X-Rate-Limit-Reset": "9" * 5_000, "Date": DATE},
    ],
)
def test_the_wait_increases_without_usable_headers(headers: dict[str, str]) -> None:
    """Without usable headers, the waits increase until they outlast a window."""
    waits = [_pause(headers, attempt) for attempt in range(4)]
    assert waits == sorted(set(waits))
    assert sum(waits) > 60
    assert _pause(headers, 1_000) == waits[-1]


@given(st.text(max_size=20), st.text(max_size=40), st.integers(0, 100))
def test_any_headers_result_in_a_bounded_wait(reset: str, date: str, attempt: int) -> None:
    """Any headers result in a wait of at most a window and a margin."""
    assert 1 <= _pause({"X-Rate-Limit-Reset": reset, "Date": date}, attempt) <= 65


def test_a_recorded_429_is_retried_after_its_reset() -> None:
    """A real org's recorded 429 is waited for until its reset, after which a 200 was recorded."""
    name = "okta-sdk-cassettes/TestAgentPoolsResource.test_list_agent_pools_with_multiple_pool_types.yaml"
    interactions: list[dict[str, Any]] = yaml.safe_load(shared_data(name).read_text())["interactions"]
    found = [interaction["response"] for interaction in interactions]
    refused = next(response for response in found if response["status"]["code"] == 429)
    headers = {key.title(): values[0] for key, values in refused["headers"].items()}
    answered = parsedate_to_datetime(headers["Date"]).timestamp()
    assert answered + _pause(headers) == int(headers["X-Rate-Limit-Reset"]) + 1


def test_a_429_for_concurrency_has_no_usable_window() -> None:
    """A 429 with the limit 0 is about concurrent requests, so its other numbers are ignored."""
    headers = {
        "X-Rate-Limit-Limit": "0",
        "X-Rate-Limit-Remaining": "0",
        "X-Rate-Limit-Reset": str(EPOCH + 60),
        "Date": DATE,
    }
    assert Limits.read(headers) == (None, None, None, None)
    assert _pause(headers) == 5


def test_each_rate_limit_header_is_optional() -> None:
    """Each rate limit header is optional."""
    assert Limits.read({"X-Rate-Limit-Limit": "120"}) == (120, None, None, None)
    assert Limits.read({"X-Rate-Limit-Remaining": "0"}) == (None, 0, None, None)
    headers = {"X-Rate-Limit-Limit": "120", "X-Rate-Limit-Reset": str(EPOCH + 9), "Date": DATE}
    assert Limits.read(headers) == (120, None, EPOCH + 9, 10)
