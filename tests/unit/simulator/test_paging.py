"""Properties of paging: following the links returns each event once."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.simulator import SimulatedOrg
from oktawatch.simulator import query as queries
from oktawatch.simulator.org import Page
from oktawatch.simulator.times import to_ms
from tests.support.logclient import NOW, Clock, event

MS = timedelta(milliseconds=1)
LIMITS = st.integers(min_value=1, max_value=7)
# How far each event's `published` lies before its persistence, in milliseconds.
DELAYS = st.lists(st.integers(min_value=0, max_value=50), max_size=8)


def ask(org: SimulatedOrg, **params: str) -> Page:
    """Send the first request of a stream."""
    return org.page(queries.read(params, to_ms(org.now())))


def follow(org: SimulatedOrg, page: Page) -> Page:
    """Follow the next link by its text, as a client does."""
    assert page.next is not None
    after = page.next.link("/api/v1/logs").split("after=")[1].split("&")[0]
    return org.page(queries.read({"after": after}, to_ms(org.now())))


def numbers(page: Page) -> list[int]:
    """Return the numbers of a page's events."""
    return [int(body.split(b'"number":')[1].split(b",")[0]) for body in page.bodies]


def rest(org: SimulatedOrg, page: Page) -> list[int]:
    """Return the numbers of a poll's events from a page to the tail."""
    read = numbers(page)
    while page.bodies:
        page = follow(org, page)
        read += numbers(page)
    return read


@given(
    limit=LIMITS, growth=st.lists(DELAYS, min_size=1, max_size=8), step=st.integers(min_value=0, max_value=3)
)
def test_a_poll_returns_each_event_once_in_persistence_order(
    limit: int, growth: list[list[int]], step: int
) -> None:
    """For any limit and any growth of the org, a poll returns each event once, in order."""
    clock = Clock()
    org = SimulatedOrg(now=clock)
    page = ask(org, limit=str(limit))
    read = numbers(page)
    count = 0
    for delays in growth:
        for delay in delays:
            org.persist(event(count, clock.time - delay * MS))
            clock.time += step * MS
            count += 1
        page = follow(org, page)
        read += numbers(page)
    read += rest(org, follow(org, page))
    assert read == list(range(count))


@given(limit=LIMITS, delays=DELAYS, descending=st.booleans())
def test_a_bounded_request_returns_each_event_of_its_bounds_once(
    limit: int, delays: list[int], *, descending: bool
) -> None:
    """A bounded request returns each event once by `published`, and the last page has no next link."""
    org = SimulatedOrg(now=Clock())
    for number, delay in enumerate(delays):
        org.persist(event(number, NOW - delay * MS), persisted_at=NOW - timedelta(seconds=1) + number * MS)
    since, until = NOW - 40 * MS, NOW - 5 * MS
    order = "DESCENDING" if descending else "ASCENDING"
    page = ask(org, limit=str(limit), since=since.isoformat(), until=until.isoformat(), sortOrder=order)
    read = numbers(page)
    while page.next is not None:
        assert len(page.bodies) == limit
        page = follow(org, page)
        assert page.bodies
        read += numbers(page)
    inside = [number for number, delay in enumerate(delays) if since <= NOW - delay * MS < until]
    assert read == sorted(inside, key=lambda number: (-delays[number], number), reverse=descending)


@given(limit=LIMITS, kinds=st.lists(st.booleans(), max_size=30))
def test_a_filter_keeps_the_order(limit: int, kinds: list[bool]) -> None:
    """A filtered poll returns the unfiltered one's events that pass the filter, in order."""
    org = SimulatedOrg(now=Clock())
    for number, wanted in enumerate(kinds):
        org.persist(event(number, eventType="wanted" if wanted else "other", actor={"id": str(wanted)}))
    expected = [number for number, wanted in enumerate(kinds) if wanted]
    assert rest(org, ask(org, limit=str(limit), filter='eventType eq "wanted"')) == expected
    assert rest(org, ask(org, limit=str(limit), filter='actor.id eq "True"')) == expected


def test_future_events_are_invisible() -> None:
    """A request sees the events up to the org's current time."""
    clock = Clock()
    org = SimulatedOrg(now=clock)
    org.persist(event(1))
    org.persist(event(2), persisted_at=NOW + MS)
    tomorrow = "2026-11-25T00:00:00Z"
    assert (len(org), numbers(ask(org)), numbers(ask(org, until=tomorrow))) == (1, [1], [1])
    clock.time += MS
    assert (len(org), numbers(ask(org)), numbers(ask(org, until=tomorrow))) == (2, [1, 2], [1, 2])
    assert [found["number"] for found in org.events] == [1, 2]


def test_a_stream_is_read_up_to_the_current_time() -> None:
    """An endless stream is read up to the current time and one event further."""
    taken: list[int] = []

    def stream() -> Iterator[tuple[datetime, dict[str, Any]]]:
        while True:
            taken.append(len(taken))
            yield NOW + taken[-1] * MS, event(taken[-1])

    clock = Clock()
    org = SimulatedOrg(now=clock)
    org.play(stream())
    assert numbers(ask(org)) == [0]
    clock.time += 3 * MS
    assert numbers(ask(org)) == [0, 1, 2, 3]
    assert taken == [0, 1, 2, 3, 4]


def test_an_event_persisted_before_a_polls_cursor_is_found_only_by_bounded_requests() -> None:
    """A poll misses events that appear before its cursor."""
    org = SimulatedOrg(now=Clock())
    org.persist(event(1))
    page = ask(org)
    org.persist(event(2, NOW - MS), persisted_at=NOW - MS)
    assert numbers(follow(org, page)) == []
    assert numbers(ask(org, until="2026-11-25T00:00:00Z")) == [2, 1]


def test_bytes_are_served_unchanged() -> None:
    """Bytes of a test are served unchanged, and are found by type and time."""
    org = SimulatedOrg(now=Clock())
    start = b'{"eventType":"user.session.start","published":"2026-11-24T07:00:00.000Z","more":'
    bodies = [
        start + b'"\\ud800"}',
        start + b'"\xe9"}',
        start + b"[" * 100_000 + b"]" * 100_000 + b"}",
        start,
    ]
    for body in bodies:
        org.persist(body)
    assert ask(org, filter='eventType eq "user.session.start"').bodies == bodies
    assert ask(org, until="2026-11-24T07:00:00.001Z").bodies == bodies
    assert org.events[2:] == [None, None]


def test_an_event_without_a_usable_time_counts_from_its_persistence() -> None:
    """A missing or broken `published` makes no event unreachable."""
    org = SimulatedOrg(now=Clock())
    for body in (b"{}", b"null", b'{"published":"soon"}', b'{"published":5,"eventType":[]}'):
        org.persist(body, persisted_at=NOW - MS)
    assert len(ask(org, until=NOW.isoformat()).bodies) == 4
