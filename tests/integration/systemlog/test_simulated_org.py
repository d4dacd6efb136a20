"""Reading a complete org over HTTP returns every event once, in order."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from oktawatch.simulator import SimulatedOrg, generate, serve
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import RateLimitedError, RequestRefusedError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import PagesAt, Priority
from oktawatch.systemlog.queries import bounded_query, polling_query
from oktawatch.systemlog.transport import open_session
from tests.support.faults import Sleeps, client_of
from tests.support.shared import shared_data
from tests.support.virtual import START as NOW
from tests.support.virtual import VirtualTime

TOKEN = "00invented-token-of-nobody"
SINCE = NOW - timedelta(days=1)
SIGN_INS = 'eventType eq "user.session.start"'


@pytest.fixture
def clock() -> VirtualTime:
    """Return a clock that advances only while the program sleeps, or when the test moves it."""
    return VirtualTime()


@pytest.fixture
def org(clock: VirtualTime) -> SimulatedOrg:
    """Return an org with a day of sign-ins."""
    org = SimulatedOrg(token=TOKEN, now=clock)
    org.extend(generate(2_500, end=NOW, proxy_share=0.05))
    return org


async def _pages(client: LogClient, query: str) -> AsyncIterator[Page]:
    """Read until caught up."""
    while True:
        page = await client.page(query)
        yield page
        if page.caught_up:
            return
        query = page.resume


async def _all(client: LogClient, query: str) -> list[Page]:
    return [page async for page in _pages(client, query)]


def _uuids(pages: list[Page]) -> list[str]:
    return [event.uuid for page in pages for event in page.events]


@pytest.mark.parametrize("limit", [1000, 333])
async def test_polling_returns_every_event_in_order_of_persistence(org: SimulatedOrg, limit: int) -> None:
    """Polling returns every event in the order of persistence, for any page size."""
    async with serve(org) as url, client_of(url) as client:
        pages = await _all(client, polling_query(since=SINCE, filter="", limit=limit))
    assert _uuids(pages) == [event["uuid"] for event in org.events]
    assert [page.count for page in pages[:-2]] == [limit] * (len(pages) - 2)
    assert pages[-1].date == NOW
    assert all(page.rejected == [] for page in pages)


async def test_polling_continues_at_its_cursor(org: SimulatedOrg, clock: VirtualTime) -> None:
    """The cursor of a stream that had caught up returns only later events."""
    async with serve(org) as url, client_of(url) as client:
        pages = await _all(client, polling_query(since=SINCE, filter=SIGN_INS, limit=1000))
        clock.now += timedelta(minutes=1)
        later = {"uuid": "later", "published": "2026-11-24T08:00:30.000Z", "eventType": "user.session.start"}
        org.persist(later)
        page = await client.page(pages[-1].resume)
        assert [event.body() for event in page.events] == [later]
        assert page.caught_up
        again = await client.page(page.resume)
    assert (again.count, again.caught_up, again.next) == (0, True, page.resume)


async def test_a_bounded_read_returns_every_event_in_order_of_published(org: SimulatedOrg) -> None:
    """A bounded read returns every event in the order of ``published`` and ends."""
    async with serve(org) as url, client_of(url) as client:
        pages = await _all(client, bounded_query(since=SINCE, until=NOW, filter=SIGN_INS, limit=1000))
    expected = sorted((event["published"], event["uuid"]) for event in org.events)
    assert sorted((event.published, event.uuid) for page in pages for event in page.events) == expected
    published = [event.published for page in pages for event in page.events]
    assert published == sorted(published)
    assert [page.next is None for page in pages] == [False, False, True]


async def test_published_example_events_arrive_unchanged(clock: VirtualTime) -> None:
    """Published example events arrive unchanged over HTTP with gzip."""
    lines = shared_data("published_okta_events.ndjson").read_bytes().splitlines()
    org = SimulatedOrg(token=TOKEN, now=clock)
    org.extend((NOW - timedelta(hours=1), line) for line in lines)
    async with serve(org) as url, client_of(url) as client:
        pages = await _all(client, polling_query(since=SINCE, filter="", limit=1000))
    assert _uuids(pages) == [json.loads(line)["uuid"] for line in lines]
    assert pages[0].events[0].body() == json.loads(lines[0])


async def test_a_rate_limit_window_is_never_used_up(clock: VirtualTime) -> None:
    """A reader waits for the next rate limit window instead of using one up."""
    org = SimulatedOrg(token=TOKEN, now=clock, rate_limit=3)
    org.extend(generate(2_500, end=NOW))
    async with serve(org) as url:
        client = LogClient(OrgAccess("acme", url, TOKEN), budget=clock.budget())
        pages = await _all(client, polling_query(since=SINCE, filter="", limit=1000))
        await client.close()
    assert len(_uuids(pages)) == 2_500
    assert {request.status for request in org.requests} == {200}
    assert (org.violations, org.budget.peak, len(clock.slept)) == (0, 2, 1)
    assert client.budget.remaining == 1


@pytest.mark.parametrize(("limit", "others"), [(20, 8), (120, 70)])
async def test_polls_and_a_backfill_use_up_no_window_for_hours(
    clock: VirtualTime, limit: int, others: int
) -> None:
    """Polls and a backfill keep to half of the limit beside other clients, and polls continue."""
    org = SimulatedOrg(token=TOKEN, now=clock, rate_limit=limit, others=others)
    org.extend(generate(200, end=NOW))
    began, polls, read, due = NOW, 0, 0, NOW
    cursor = polling_query(since=SINCE, filter="", limit=1000)
    past = bounded_query(since=SINCE, until=NOW, filter="", limit=1)
    async with serve(org) as url:
        client = LogClient(OrgAccess("acme", url, TOKEN), budget=clock.budget(0.5))
        backfill = PagesAt(client, Priority.BACKFILL)
        while clock() < began + timedelta(hours=2):
            if clock() >= due:
                cursor = (await client.page(cursor)).resume
                polls += 1
                due = clock() + timedelta(seconds=30)
            else:
                page = await backfill.page(past)
                past = page.next or past
                read += 1
            clock.now += timedelta(seconds=0.2)
        await client.close()
    assert (org.violations, org.budget.refused) == (0, 0)
    assert org.budget.peak <= limit // 2
    assert polls > 110
    assert read > 120 * limit // 4


async def test_a_window_used_up_by_others_is_waited_for(clock: VirtualTime) -> None:
    """A used-up window is waited for by the org's clock, even if the local clock is wrong."""
    org = SimulatedOrg(token=TOKEN, now=clock, rate_limit=10)
    org.extend(generate(2_500, end=NOW))
    async with serve(org) as url:
        client = LogClient(OrgAccess("acme", url, TOKEN), budget=clock.budget())
        first = await client.page(polling_query(since=SINCE, filter="", limit=1000))
        org.budget.spend(9, clock().timestamp())
        second = await client.page(first.resume)
        await client.close()
    assert (first.count, second.count) == (1000, 1000)
    assert [request.status for request in org.requests] == [200, 429, 200]
    assert clock.slept == [61]


async def test_a_window_that_never_ends_raises_an_error(clock: VirtualTime) -> None:
    """A rate limit window that never ends raises an error."""
    org = SimulatedOrg(token=TOKEN, now=clock, rate_limit=1)
    sleep = Sleeps()
    async with serve(org) as url, client_of(url, sleep=sleep) as client:
        query = polling_query(since=SINCE, filter="", limit=1000)
        await client.page(query)
        with pytest.raises(RateLimitedError, match="E0000047"):
            await client.page(query)
    assert len(sleep.taken) == 5
    assert all(1 <= seconds <= 66 for seconds in sleep.taken)


@pytest.mark.parametrize(
    "query",
    [
        polling_query(since=NOW - timedelta(days=200), filter="", limit=10),
        polling_query(since=SINCE, filter="eventType is odd", limit=10),
        "/api/v1/logs?after=1627500044869_1&limit=10",
        "/api/v1/logs?since=soon",
    ],
)
async def test_a_refused_query_raises_request_refused_error(org: SimulatedOrg, query: str) -> None:
    """A refused query, such as an invalid cursor, raises RequestRefusedError."""
    async with serve(org) as url, client_of(url) as client:
        with pytest.raises(RequestRefusedError) as caught:
            await client.page(query)
    assert caught.value.status == 400
    assert caught.value.error_code is not None
    assert caught.value.date == NOW


async def test_many_orgs_are_read_concurrently(clock: VirtualTime) -> None:
    """Many orgs are read concurrently over one session, each with its token and events."""
    orgs = [SimulatedOrg(token=f"00invented-{number}", now=clock) for number in range(6)]
    for number, org in enumerate(orgs):
        org.extend(generate(5, seed=number, end=NOW))

    async def read(org: SimulatedOrg) -> list[Page]:
        async with serve(org) as url:
            client = LogClient(OrgAccess("acme", url, org.token), session=session)
            return await _all(client, polling_query(since=SINCE, filter="", limit=1000))

    async with open_session(None) as session:
        found = await asyncio.gather(*map(read, orgs))
    assert [_uuids(pages) for pages in found] == [[event["uuid"] for event in org.events] for org in orgs]
