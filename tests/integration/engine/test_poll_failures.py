"""Polling misses no event if Okta fails, refuses a cursor, or links to no new page."""

from datetime import timedelta
from typing import Any

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import NoProgressError
from oktawatch.engine.health import judge
from oktawatch.engine.poll import OVERLAP
from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import to_text
from oktawatch.store.cursors import read_cursor
from oktawatch.store.status import org_statuses
from oktawatch.systemlog.errors import BrokenTransferError, RequestRefusedError, UnavailableError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, rows
from tests.support.polling import STALE, parameters, poller, script
from tests.support.streams import Script, cut, event, page


async def test_a_refused_cursor_is_dropped_after_one_more_try(database: DatabaseExecutor) -> None:
    """Polling restarts where no event is missing, and repeated events are recorded once."""
    events = [event(1, at=-timedelta(hours=3)), event(2, at=-timedelta(hours=2))]
    await poller(script(cut(events[:1], [])), database).round()
    fresh = page(events, caught_up=True, following="/api/v1/logs?after=fresh")
    refused = RequestRefusedError("Invalid paging request.", status=400)
    source = Script({"/api/v1/logs?after=1&limit=1000": refused}, first=fresh)
    result = await poller(source, database).round()
    assert source.asked[:2] == ["/api/v1/logs?after=1&limit=1000"] * 2
    assert parameters(source.asked[2])["since"] == to_text(NOW - timedelta(hours=24) - OVERLAP)
    assert (result.events, result.new_events) == (2, 1)


async def test_a_cursor_refused_within_a_round_loses_no_event(database: DatabaseExecutor) -> None:
    """If a cursor is refused within a round, the previous page is committed and the stream restarts from there."""
    first, _second = cut([event(1, at=-timedelta(hours=3)), event(2)], [1])
    refused = RequestRefusedError("Invalid paging request.", status=400)
    fresh = page([event(1, at=-timedelta(hours=3)), event(2)], caught_up=True, following=STALE)
    answers: dict[str, Any] = {"/api/v1/logs?after=1&limit=1000": refused}

    class Once(Script):
        async def page(self, query: str) -> Page:
            answer = await super().page(query)
            self._first = fresh
            return answer

    result = await poller(Once(answers, first=first), database).round()
    assert [row["uuid"] for row in rows(database.database, "events")] == [event(1).uuid, event(2).uuid]
    assert result.new_events == 2


async def test_a_refused_first_request_raises(database: DatabaseExecutor) -> None:
    """A refused first request of a stream raises, because no cursor caused it."""
    with pytest.raises(RequestRefusedError):
        await poller(Script({}), database).round()


async def test_a_failed_round_keeps_its_committed_pages(database: DatabaseExecutor) -> None:
    """A failed round keeps its committed pages, and the next round continues after them."""
    first, second = cut([event(1), event(2)], [1])
    broken = Script({second.query: UnavailableError("the org does not answer")}, first=first)
    with pytest.raises(UnavailableError):
        await poller(broken, database).round()
    result = await poller(Script({second.query: second}), database).round()
    assert result.new_events == 1
    assert len(rows(database.database, "events")) == 2


async def test_pages_shrink_after_failures_and_grow_after_a_success(database: DatabaseExecutor) -> None:
    """Pages get smaller after several failures of Okta, and grow again after a success."""
    await poller(script(cut([event(1)], [])), database).round()
    tail = "/api/v1/logs?after=1&limit=1000"
    slow = Script({tail: UnavailableError("timed out", status=500)})
    polling = poller(slow, database)
    for _ in range(5):
        with pytest.raises(UnavailableError):
            await polling.round()
    assert slow.asked == [tail] * 5
    small = "/api/v1/logs?after=small&limit=250"
    slow._first = page([event(2)], caught_up=True, following=small)
    await polling.round()
    assert parameters(slow.asked[-1])["limit"] == "250"
    await polling.round()
    assert parameters(slow.asked[-1])["limit"] == "1000"
    assert len(rows(database.database, "events")) == 2


async def test_an_unreachable_org_keeps_its_page_size(database: DatabaseExecutor) -> None:
    """An org that can't be reached keeps its cursor and page size, however long the outage."""
    await poller(script(cut([event(1)], [])), database).round()
    tail = "/api/v1/logs?after=1&limit=1000"
    away = Script({tail: UnavailableError("connection refused")})
    polling = poller(away, database)
    for _ in range(8):
        with pytest.raises(UnavailableError):
            await polling.round()
    assert away.asked == [tail] * 8


@pytest.mark.parametrize("link_error", [None, "a next link to another host"])
async def test_a_page_without_a_next_link_is_kept_and_raises(
    database: DatabaseExecutor, link_error: str | None
) -> None:
    """Polling has no last page. The cursor stays, and so does the time of the last successful poll."""
    await poller(script(cut([event(1)], [])), database).round()
    before = rows(database.database, "cursors")
    tail = "/api/v1/logs?after=1&limit=1000"
    cut_off = Script({tail: page([event(2)], query=tail, caught_up=True, link_error=link_error)})
    later = poller(cut_off, database, now=NOW + timedelta(minutes=1))
    with pytest.raises(BrokenTransferError, match=link_error or "no link to a next page"):
        await later.round()
    assert [row["uuid"] for row in rows(database.database, "events")] == [event(1).uuid, event(2).uuid]
    assert rows(database.database, "cursors") == before
    assert later.caught_up is None


async def test_a_first_page_without_a_next_link_still_stores_a_cursor(database: DatabaseExecutor) -> None:
    """A first page without a next link still stores a cursor, so that a later start reads from the same time."""
    alone = Script({}, first=page([event(1)], query="/api/v1/logs?since=x&limit=1000"))
    for _ in range(2):
        with pytest.raises(BrokenTransferError):
            await poller(alone, database).round()
    cursor = await database.run(read_cursor, ORG)
    assert cursor is not None
    assert (cursor.began_at, cursor.last_caught_up_at) == (NOW - timedelta(hours=24), None)
    assert alone.asked[1] == "/api/v1/logs?since=x&limit=1000"


async def test_a_page_repeated_under_new_links_raises(database: DatabaseExecutor) -> None:
    """The same page under ever new links raises an error instead of being read forever."""

    class Circle(Script):
        async def page(self, query: str) -> Page:
            self.asked.append(query)
            return page([event(1, at=-timedelta(days=1))], query=query, following=f"{STALE}{len(self.asked)}")

    circle = Circle({})
    polling = poller(circle, database)
    for _ in range(2):
        with pytest.raises(NoProgressError, match="have no new events"):
            await polling.round()
    assert len(circle.asked) <= 9
    assert len(rows(database.database, "events")) == 1


@pytest.mark.parametrize("behind", [[event(2)], []])
async def test_polling_continues_once_pages_no_longer_repeat(
    database: DatabaseExecutor, behind: list[Event]
) -> None:
    """The daemon needs no restart, although the cursor still leads to the page that was repeated."""
    repeated = [event(1, at=-timedelta(days=1))]

    class Circle(Script):
        broken = True

        async def page(self, query: str) -> Page:
            self.asked.append(query)
            if query == "/api/v1/logs?after=next":
                return page(behind, query=query, following=query, caught_up=True)
            links_to = f"{STALE}{len(self.asked)}" if self.broken else "/api/v1/logs?after=next"
            return page(repeated, query=query, following=links_to)

    circle = Circle({})
    polling = poller(circle, database)
    for _ in range(3):
        with pytest.raises(NoProgressError):
            await polling.round()
    circle.broken = False
    await polling.round()
    assert polling.caught_up is not None
    assert len(rows(database.database, "events")) == 1 + len(behind)


async def test_repeated_pages_after_a_restart_are_no_successful_poll(database: DatabaseExecutor) -> None:
    """A new process reads the repeated page as new to it, which must not end the alarm about the silent org."""
    repeated = [event(1, at=-timedelta(days=1))]

    class Circle(Script):
        async def page(self, query: str) -> Page:
            self.asked.append(query)
            return page(repeated, query=query, following=f"{STALE}{len(self.asked)}")

    def successful_polls() -> list[tuple[object, object]]:
        orgs, cursors = rows(database.database, "orgs"), rows(database.database, "cursors")
        return [
            (org["last_poll_at"], org_cursor["updated_at"])
            for org, org_cursor in zip(orgs, cursors, strict=True)
        ]

    with pytest.raises(NoProgressError):
        await poller(Circle({}), database).round()
    before = successful_polls()
    with pytest.raises(NoProgressError):
        await poller(Circle({}), database, now=NOW + timedelta(hours=1)).round()
    assert successful_polls() == before


async def test_a_full_page_that_links_to_itself_raises(database: DatabaseExecutor) -> None:
    """A full page that links to itself raises, because the events after it would never be read."""
    stuck = "/api/v1/logs?after=1&limit=2"
    full = page([event(1), event(2)], query=stuck, following=stuck, caught_up=True)
    polling = poller(Script({}, first=full), database, page_size=2)
    for _ in range(5):
        await polling.round()
    with pytest.raises(NoProgressError):
        await polling.round()


async def test_a_last_page_that_links_to_itself_is_no_error(database: DatabaseExecutor) -> None:
    """The last page of a quiet org may link to itself for hours."""
    tail = "/api/v1/logs?after=1&limit=1000"
    polling = poller(Script({}, first=page([event(1)], query=tail, following=tail, caught_up=True)), database)
    for _ in range(20):
        await polling.round()


async def test_a_link_with_a_smaller_limit_is_followed(database: DatabaseExecutor) -> None:
    """A link with a smaller limit than requested is followed, because a restart would not change it."""
    smaller = "/api/v1/logs?after=1&limit=500"
    first = page([event(1)], query="/api/v1/logs?since=x&limit=1000", following=smaller, caught_up=True)
    tail = page(query=smaller, following=smaller, caught_up=True)
    source = Script({smaller: tail}, first=first)
    await poller(source, database).round()
    for _ in range(3):
        await poller(source, database).round()
    assert source.asked[1:] == [smaller] * 3


async def test_cursors_that_are_always_refused_end_the_round(database: DatabaseExecutor) -> None:
    """A round ends with an error if Okta refuses the cursor of each restart."""
    first = page([event(1)], query="/api/v1/logs?since=x", following=STALE)

    class Refusing(Script):
        async def page(self, query: str) -> Page:
            if query == STALE:
                self.asked.append(query)
                raise RequestRefusedError("Invalid paging request.", status=400)
            return await super().page(query)

    source = Refusing({}, first=first)
    with pytest.raises(RequestRefusedError):
        await poller(source, database).round()
    assert len(source.asked) < 20


async def test_unusable_events_make_an_org_unhealthy(database: DatabaseExecutor) -> None:
    """An org whose polls catch up but whose events can't be used is unhealthy."""
    broken = [RejectedEvent("no usable uuid", b'{"n":%d}' % number) for number in range(5)]
    tail = page(rejected=broken, following=STALE, caught_up=True)
    await poller(Script({}, first=tail), database).round()
    (status,) = await database.run(org_statuses)
    health = judge(status, interval=timedelta(seconds=30), now=NOW)
    assert (health.behind, health.failing, health.unusable, health.good) == (False, False, True, False)
    assert "100% of the events polled lately can't be used" in health.problems[0]
    good = [event(number) for number in range(60)]
    await poller(Script({}, first=page(good, following=STALE, caught_up=True)), database).round()
    (status,) = await database.run(org_statuses)
    assert judge(status, interval=timedelta(seconds=30), now=NOW).good
