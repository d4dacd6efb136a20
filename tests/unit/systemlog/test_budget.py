"""When a request may be sent, and when it must wait."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oktawatch.simulator.ratelimit import Budget as OrgBudget
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.priority import Priority
from tests.support.properties import examples
from tests.support.shared import shared_data
from tests.support.virtual import VirtualTime

POLL, SWEEP, BACKFILL = Priority


@pytest.fixture
def time() -> VirtualTime:
    """Return a clock that advances only while the program sleeps."""
    return VirtualTime()


def _headers(
    time: VirtualTime, limit: int | None = None, remaining: int | None = None, reset: int | None = None
) -> dict[str, str]:
    """Return an answer's headers, with the reset in ``reset`` seconds."""
    numbers = {
        "X-Rate-Limit-Limit": limit,
        "X-Rate-Limit-Remaining": remaining,
        "X-Rate-Limit-Reset": None if reset is None else int(time().timestamp()) + reset,
    }
    headers = {name: str(number) for name, number in numbers.items() if number is not None}
    return headers | {"Date": format_datetime(time(), usegmt=True)}


async def _ask(
    budget: RateBudget, headers: dict[str, str], status: int = 200, priority: Priority = POLL
) -> None:
    async with budget.turn(priority):
        budget.answered(status, headers)


@pytest.mark.parametrize(
    ("share", "limit", "expected"),
    [(0.5, 120, 60), (0.5, 20, 10), (0.1, 5, 1), (0.01, 20, 1), (0.29, 100, 28)],
)
async def test_our_share_is_never_exceeded(
    time: VirtualTime, share: float, limit: int, expected: int
) -> None:
    """The share can be used at once, and the next request waits for the window's end."""
    budget = time.budget(share)
    for left in range(expected):
        await _ask(budget, _headers(time, limit, limit - left - 1, 60))
    assert time.slept == []
    await _ask(budget, _headers(time, limit, limit - 1, 60))
    assert time.slept == [61]


async def test_the_last_request_of_a_window_is_never_used(time: VirtualTime) -> None:
    """The last request of a window is never used, because Okta would mail the admins."""
    budget = time.budget()
    await _ask(budget, _headers(time, 10, 2, 30))
    await _ask(budget, _headers(time, 10, 1, 30))
    assert (time.slept, budget.remaining) == ([], 1)
    await _ask(budget, _headers(time, 10, 9, 60))
    assert (time.slept, budget.remaining) == ([31], 9)


async def test_requests_of_other_clients_are_estimated(time: VirtualTime) -> None:
    """Requests of other clients since the last answer are estimated from their rate."""
    budget = time.budget(share=0.5)
    await _ask(budget, _headers(time, 600, 599, 60))
    time.now += timedelta(seconds=30)
    await _ask(budget, _headers(time, 600, 50, 30))
    time.now += timedelta(seconds=25)
    await _ask(budget, _headers(time, 600, 599, 60))
    assert time.slept == [6]


async def test_a_tenth_of_the_share_is_reserved_for_polling(time: VirtualTime) -> None:
    """A tenth of oktawatch's share is reserved for polling, so that a backfill doesn't delay a poll."""
    window_over = asyncio.Event()

    async def sleep(_: float) -> None:
        await window_over.wait()

    budget = RateBudget(0.5, clock=time.monotonic, sleep=sleep)
    for taken in range(1, 10):
        await _ask(budget, _headers(time, 20, 20 - taken, 60), priority=BACKFILL)
    backfill = asyncio.create_task(_ask(budget, {}, priority=BACKFILL))
    await asyncio.sleep(0)
    await _ask(budget, _headers(time, 20, 10, 60))
    assert not backfill.done()
    time.now += timedelta(seconds=61)
    window_over.set()
    await backfill


async def test_each_wait_is_reported(time: VirtualTime) -> None:
    """`on_wait` is called with the duration of each wait before the wait begins."""
    waits: list[float] = []
    budget = RateBudget(
        0.5, clock=time.monotonic, sleep=time.sleep, jitter=lambda: 0.25, on_wait=waits.append
    )
    await _ask(budget, _headers(time, 600, 300, 44))
    await _ask(budget, _headers(time, 600, 1, 44))
    await _ask(budget, _headers(time, 600, 599, 60))
    assert waits == time.slept == [45.25]  # a second later, because Okta's numbers are whole seconds


async def test_polls_have_priority_over_sweeps_and_sweeps_over_backfills(time: VirtualTime) -> None:
    """Polling has priority over sweeps, and sweeps over backfills; equal priorities are served in order."""
    budget, order = time.budget(), list[str]()

    async def ask(name: str, priority: Priority) -> None:
        async with budget.turn(priority):
            order.append(name)

    async with asyncio.TaskGroup() as asking, budget.turn(BACKFILL):
        for name, priority in [("b1", BACKFILL), ("s1", SWEEP), ("b2", BACKFILL), ("p1", POLL), ("p2", POLL)]:
            asking.create_task(ask(name, priority))
        await asyncio.sleep(0)
    assert order == ["p1", "p2", "s1", "b1", "b2"]


async def test_only_one_request_is_in_flight(time: VirtualTime) -> None:
    """Only one request is in flight at a time."""
    budget, flying, most = time.budget(), 0, 0

    async def ask() -> None:
        nonlocal flying, most
        async with budget.turn(POLL):
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0)
            flying -= 1

    await asyncio.gather(*(ask() for _ in range(5)))
    assert most == 1


async def test_no_request_waits_without_rate_limit_headers(time: VirtualTime) -> None:
    """Without rate limit headers, no request waits."""
    budget = time.budget(share=0.01)
    for _ in range(500):
        await _ask(budget, {})
    assert (time.slept, budget.remaining) == ([], None)


async def test_repeated_429s_without_headers_increase_the_wait(time: VirtualTime) -> None:
    """Repeated 429 answers without headers increase the wait, until there is another answer."""
    budget = time.budget()
    for status in (429, 429, 429, 429, 429, 503, 429, 200):
        await _ask(budget, {}, status)
    assert time.slept == [5, 10, 20, 40, 40, 5]


async def test_the_window_is_still_used_after_a_429_for_concurrency(time: VirtualTime) -> None:
    """After a 429 with the limit 0 (too many concurrent requests), the rest of the window is still used."""
    budget = time.budget()
    await _ask(budget, _headers(time, 100, 50, 60))
    await _ask(budget, _headers(time, 0, 0, 60), 429)
    await _ask(budget, _headers(time, 100, 48, 55))
    await _ask(budget, _headers(time, 100, 47, 55))
    assert (time.slept, budget.remaining) == ([5], 47)


async def test_the_window_does_not_depend_on_the_servers_clock(time: VirtualTime) -> None:
    """The length of a window does not depend on the server's clock."""
    budget = time.budget()
    server = "Thu, 11 Sep 2025 16:21:50 GMT"
    reset = int(parsedate_to_datetime(server).timestamp()) + 7
    headers = {"X-Rate-Limit-Limit": "10", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(reset)}
    await _ask(budget, headers | {"Date": server})
    await _ask(budget, {})
    assert time.slept == [8]


async def test_a_request_without_an_answer_counts_once(time: VirtualTime) -> None:
    """A request without an answer counts once, in the window after the one in which it was sent."""
    budget = time.budget(share=0.5)
    await _ask(budget, _headers(time, 8, 7, 60))
    for _ in range(3):
        await _ask(budget, {}, 503)
    await _ask(budget, {}, 503)
    assert time.slept == [61]
    await _ask(budget, _headers(time, 8, 7, 60))
    assert time.slept == [61, 65]


async def test_a_response_from_the_previous_window_changes_nothing(time: VirtualTime) -> None:
    """A response from the previous window does not change the present one."""
    budget = time.budget(share=0.5)
    for left in (7, 6, 5):
        await _ask(budget, _headers(time, 8, left, 1))
    for left in (7, 6, 5, 4):
        await _ask(budget, _headers(time, 8, left, 61))
    assert time.slept == []
    await _ask(budget, _headers(time, 8, 7, 60))
    assert time.slept == [62]


@pytest.mark.parametrize("waiting_for", ["another", "the window"])
async def test_a_cancelled_wait_passes_the_turn_on(waiting_for: str) -> None:
    """A cancelled wait passes the turn to the next request."""
    budget = RateBudget(1.0)
    if waiting_for == "the window":
        async with budget.turn(POLL):
            budget.answered(429, {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), budget.turn(POLL):
                raise AssertionError
        return
    async with budget.turn(POLL):
        first = asyncio.create_task(_ask(budget, {}))
        second = asyncio.create_task(_ask(budget, {}))
        await asyncio.sleep(0)
        first.cancel()
    await second
    assert first.cancelled()


async def test_a_failed_request_passes_the_turn_on(time: VirtualTime) -> None:
    """A failed request passes the turn to the next one."""
    budget = time.budget()
    with pytest.raises(ConnectionError):
        async with budget.turn(POLL):
            raise ConnectionError
    await _ask(budget, {})


async def test_a_recorded_window_is_respected(time: VirtualTime) -> None:
    """With a real org's recorded answers, the reset is waited for before a 429 occurs."""
    name = "okta-sdk-cassettes/TestAgentPoolsResource.test_list_agent_pools_with_multiple_pool_types.yaml"
    interactions: list[dict[str, Any]] = yaml.safe_load(shared_data(name).read_text())["interactions"]
    answers = [
        (
            interaction["response"]["status"]["code"],
            {key.title(): values[0] for key, values in interaction["response"]["headers"].items()},
        )
        for interaction in interactions
    ]
    budget, waits = time.budget(), []
    for status, headers in answers:
        del time.slept[:]
        await _ask(budget, headers, status)
        waits.append((status, int(headers["X-Rate-Limit-Remaining"]), sum(time.slept)))
    # No requests remain after the first answer, 49 s before the reset, or after the 429, 48 s before the reset.
    assert waits == [(200, 0, 0), (429, 0, 50), (200, 9, 49)]


async def _hours(
    *, limit: int, others: int, share: float, interval: int, bursts: Sequence[int], backfill: bool
) -> OrgBudget:
    """Poll for two hours with a burst of pages in each interval, and run a backfill in between."""
    time = VirtualTime()
    org, budget = OrgBudget(limit, others), time.budget(share)

    async def ask(priority: Priority) -> None:
        async with budget.turn(priority):
            status = 200 if org.take(time().timestamp()) else 429
            headers = org.headers() | {"Date": format_datetime(time(), usegmt=True)}
            time.now += timedelta(seconds=0.2)
            budget.answered(status, headers)

    due, polls = 0.0, 0
    while time.monotonic() < 2 * 3600:
        if time.monotonic() >= due:
            for _ in range(bursts[polls % len(bursts)]):
                await ask(POLL)
            polls += 1
            due = time.monotonic() + interval
        elif backfill:
            await ask(BACKFILL)
        else:
            await time.sleep(due - time.monotonic() + 0.001)
    return org


@settings(max_examples=examples(15))
@given(
    limit=st.sampled_from([3, 4, 10, 20, 60, 120]),
    others=st.floats(0, 1),
    share=st.sampled_from([0.1, 0.25, 0.5, 0.6]),
    interval=st.sampled_from([17, 30, 45, 60, 90]),
    bursts=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    backfill=st.booleans(),
)
@example(
    limit=10, others=0.75, share=0.5, interval=45, bursts=[4], backfill=False
)  # the other clients exceed their share in a burst
async def test_the_share_is_never_exceeded_beside_other_clients(
    *, limit: int, others: float, share: float, interval: int, bursts: list[int], backfill: bool
) -> None:
    """The share of the rate limit is never exceeded, with any requests of other clients."""
    org = await _hours(
        limit=limit,
        others=math.floor(others * limit),
        share=share,
        interval=interval,
        bursts=bursts,
        backfill=backfill,
    )
    assert org.violations == 0
    assert 1 <= org.peak <= max(1, math.floor(share * limit))
