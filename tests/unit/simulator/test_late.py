"""Late events, and cursors that the simulator has forgotten."""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from oktawatch.simulator import Late, SimulatedOrg, delay
from oktawatch.simulator import query as queries
from oktawatch.simulator.cursors import Cursors
from oktawatch.simulator.org import Page
from oktawatch.simulator.times import to_ms
from tests.support.logclient import NOW, Clock, event

SECOND = timedelta(seconds=1)


def ask(org: SimulatedOrg, **params: str) -> Page:
    """Send the first request of a stream."""
    return org.page(queries.read(params, to_ms(org.now())))


def numbers(page: Page) -> list[int]:
    """Return the numbers of a page's events."""
    return [int(body.split(b'"number":')[1].split(b",")[0]) for body in page.bodies]


def test_a_late_event_is_missed_by_each_poll() -> None:
    """A running poll never returns a late event, and bounded requests do."""
    clock = Clock()
    org = SimulatedOrg(now=clock)
    org.persist(event(1))
    page = ask(org)
    org.persist(Late(event(2, NOW - SECOND)))
    clock.time += SECOND
    org.persist(event(3, clock.time))
    assert page.next is not None
    assert numbers(org.page(page.next)) == [3]
    assert numbers(ask(org, until="2026-11-25T00:00:00Z")) == [2, 1, 3]
    assert numbers(ask(org)) == [2, 1, 3]


def test_no_event_is_late_before_the_first_poll() -> None:
    """Before the first poll, no event is late."""
    org = SimulatedOrg(now=Clock())
    org.persist(event(1))
    org.persist(Late(event(2)))
    assert numbers(ask(org)) == [1, 2]


def endless() -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Yield an event every second."""
    for number in itertools.count():
        moment = NOW + number * SECOND
        yield moment, event(number, moment)


def test_a_share_of_a_stream_is_late() -> None:
    """A stream has each event once in the order of appearance, and no event is later than the given time."""
    stream = delay(endless(), share=0.1, by=600 * SECOND, seed=3)
    taken = list(itertools.islice(stream, 5000))
    assert [moment for moment, _ in taken] == sorted(moment for moment, _ in taken)
    late = [(moment, found.event) for moment, found in taken if isinstance(found, Late)]
    assert 350 < len(late) < 550
    waits = [moment - NOW - made["number"] * SECOND for moment, made in late if isinstance(made, dict)]
    assert timedelta(0) <= min(waits) < max(waits) < 600 * SECOND
    bodies = [found.event if isinstance(found, Late) else found for _, found in taken]
    seen = {body["number"] for body in bodies if isinstance(body, dict)}
    assert len(seen) == 5000
    assert seen >= set(range(4300))


def test_all_late_events_appear_before_a_stream_ends() -> None:
    """At the end of a stream, all late events appear."""
    stream = delay(itertools.islice(endless(), 20), share=1, by=3600 * SECOND, seed=1)
    assert len(list(stream)) == 20


def test_a_stream_with_late_events_can_be_followed() -> None:
    """A poll misses only the late events, and a bounded request finds all events."""
    clock = Clock()
    org = SimulatedOrg(now=clock)
    stream = delay(itertools.islice(endless(), 500), share=0.2, by=100 * SECOND, seed=2)
    org.play(stream)
    page = ask(org, limit="1000")
    read = numbers(page)
    while clock.time < NOW + 700 * SECOND:
        clock.time += SECOND
        assert page.next is not None
        page = org.page(page.next)
        read += numbers(page)
    bounded = numbers(ask(org, until=(NOW + 700 * SECOND).isoformat(), limit="1000"))
    assert read == sorted(set(read))
    assert 350 < len(read) < 450
    assert bounded == list(range(500))


def cursor(org: SimulatedOrg) -> queries.Query:
    """Return a cursor of the org."""
    found = ask(org).next
    assert found is not None
    return found


def test_cursors_are_accepted_until_forgotten() -> None:
    """Cursors from before a time, or all until now, can be forgotten; later ones work."""
    org = SimulatedOrg(now=Clock())
    cursors, early, late = Cursors(), cursor(org), cursor(org).at((7, 7))
    cursors.issue(early, to_ms(NOW))
    cursors.issue(late, to_ms(NOW + SECOND))
    cursors.forget(before=NOW + SECOND)
    assert (cursors.accepts(early, 0), cursors.accepts(late, 0)) == (False, True)
    cursors.forget()
    assert not cursors.accepts(late, 0)
    cursors.issue(late, to_ms(NOW))
    assert cursors.accepts(late, 0)


def test_a_single_cursor_can_be_forgotten() -> None:
    """One cursor can be forgotten, and the others work."""
    org = SimulatedOrg(now=Clock())
    cursors, one, other = Cursors(), cursor(org), cursor(org).at((7, 7))
    cursors.forget_link("http://127.0.0.1:1" + one.link("/api/v1/logs"))
    assert (cursors.accepts(one, 0), cursors.accepts(other, 0)) == (False, True)


def test_a_cursors_lifetime_restarts_when_it_is_issued_again() -> None:
    """A cursor's lifetime restarts each time that it is returned."""
    org = SimulatedOrg(now=Clock())
    cursors, one = Cursors(lifetime=60 * SECOND), cursor(org)
    now = to_ms(NOW)
    cursors.issue(one, now)
    cursors.issue(one, now + 30_000)
    assert (cursors.accepts(one, now + 90_000), cursors.accepts(one, now + 90_001)) == (True, False)
