"""A polling round reads from the cursor until it has caught up."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import NoProgressError
from oktawatch.engine.health import judge
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import OVERLAP, Poller
from oktawatch.model.cursor import Cursor
from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import to_text
from oktawatch.store.cursors import read_cursor
from oktawatch.store.errors import CursorMovedError, StoppedError
from oktawatch.store.page_transaction import page_transaction
from oktawatch.store.status import org_statuses
from oktawatch.systemlog.errors import BrokenTransferError, RequestRefusedError, UnavailableError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, rows
from tests.support.streams import Script, cut, event, page

RULES = build_rules({}, read_file=lambda _path: "")
FILTER = 'eventType eq "user.session.start"'
STALE = "/api/v1/logs?after=stale"


def poller(
    source: Any,
    database: DatabaseExecutor,
    *,
    rules: RuleSet = RULES,
    now: datetime = NOW,
    page_size: int = 1000,
) -> Poller:
    """Create a poller with a stopped clock."""
    return Poller(
        source,
        database,
        Watch(org=ORG, rules=rules),
        page_size=page_size,
        initial_lookback=timedelta(hours=24),
        now=lambda: now,
    )


def parameters(query: str) -> dict[str, str]:
    """Read a query's parameters."""
    return {name: values[0] for name, values in parse_qs(urlsplit(query).query).items()}


def script(pages: list[Page], **more: Any) -> Script:
    """Serve pages one after the other."""
    return Script({page_.query: page_ for page_ in pages} | more, first=pages[0])


async def test_the_first_round_starts_at_the_initial_lookback(database: DatabaseExecutor) -> None:
    """An org that was never polled is asked for the last day, as an endless ascending stream."""
    source = script(cut([event(1), event(2)], [1]))
    result = await poller(source, database).round()
    assert parameters(source.asked[0]) == {
        "since": to_text(NOW - timedelta(hours=24)),
        "filter": FILTER,
        "limit": "1000",
        "sortOrder": "ASCENDING",
    }
    assert (result.pages, result.new_events, result.matches) == (2, 2, 2)


async def test_a_clock_that_is_ahead_leaves_nothing_out(database: DatabaseExecutor) -> None:
    """If the local clock is days ahead, polling starts a day before Okta's time, so that no event is missed."""
    source = script(cut([event(1)], []))
    with structlog.testing.capture_logs() as logs:
        await poller(source, database, now=NOW + timedelta(days=3)).round()
    assert [parameters(query)["since"] for query in source.asked] == [
        to_text(NOW + timedelta(days=2)),
        to_text(NOW - timedelta(days=1)),
    ]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["clock_ahead"]


@pytest.mark.parametrize("off", [timedelta(days=-3), timedelta(seconds=59)])
async def test_another_clock_is_no_reason_to_ask_twice(database: DatabaseExecutor, off: timedelta) -> None:
    """A clock that is behind, or ahead by seconds, causes no second request."""
    source = script(cut([event(1)], []))
    await poller(source, database, now=NOW + off).round()
    assert len(source.asked) == 1


async def test_the_next_round_goes_on_at_okta_s_own_link(database: DatabaseExecutor) -> None:
    """The cursor is the link as Okta wrote it, with the filter that it has frozen."""
    await poller(script(cut([event(1)], [])), database).round()
    assert await database.run(read_cursor, ORG) == Cursor(
        filter=FILTER,
        query="/api/v1/logs?after=1&limit=1000",
        page_size=1000,
        began_at=NOW - timedelta(hours=24),
        restart_at=NOW - timedelta(hours=24),
        last_published=NOW,
        last_caught_up_at=NOW,
    )
    again = Script({"/api/v1/logs?after=1&limit=1000": page(caught_up=True, following=STALE)})
    await poller(again, database).round()
    assert again.asked == ["/api/v1/logs?after=1&limit=1000"]


async def test_nothing_is_asked_beyond_a_page_that_has_caught_up(database: DatabaseExecutor) -> None:
    """The next page is not requested after a page that caught up, to save the rate limit."""
    source = script(cut([event(1), event(2), event(3)], [1, 2]))
    await poller(source, database).round()
    assert source.asked[1:] == ["/api/v1/logs?after=1&limit=1000", "/api/v1/logs?after=2&limit=1000"]


async def test_a_round_past_its_deadline_ends_with_the_page_at_hand(database: DatabaseExecutor) -> None:
    """A round past its deadline ends after the current page, and the next round continues there."""
    source = script(cut([event(1), event(2)], [1]))
    result = await poller(source, database).round(deadline=0.0)
    cursor = await database.run(read_cursor, ORG)
    assert result.pages == 1
    assert cursor is not None
    assert cursor.last_caught_up_at is None


async def test_an_event_from_the_future_does_not_poison_last_published(database: DatabaseExecutor) -> None:
    """`last_published` never exceeds Okta's own clock."""
    future = event(1, at=timedelta(days=30_000))
    await poller(script(cut([event(2, at=-timedelta(hours=1)), future], [])), database).round()
    cursor = await database.run(read_cursor, ORG)
    assert cursor is not None
    assert cursor.last_published == NOW


async def test_other_rules_start_another_cursor_a_little_earlier(database: DatabaseExecutor) -> None:
    """Another filter needs a new stream, which starts a little earlier and misses no event."""
    tail = page(caught_up=True, query="/api/v1/logs?after=1&limit=1000", following="/api/v1/logs?after=2")
    source = script([*cut([event(1, at=-timedelta(hours=3))], []), tail])
    polling = poller(source, database)
    await polling.round()
    await polling.round()
    none = Script({}, first=page(caught_up=True, following="/api/v1/logs?after=new"))
    await poller(none, database, rules=RuleSet([])).round()
    assert parameters(none.asked[0])["since"] == to_text(NOW - OVERLAP)
    cursor = await database.run(read_cursor, ORG)
    assert cursor is not None
    assert (cursor.filter, cursor.query) == (RuleSet([]).filter, "/api/v1/logs?after=new")


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


async def test_a_cursor_that_is_refused_in_the_middle_of_a_round_loses_nothing(
    database: DatabaseExecutor,
) -> None:
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


async def test_a_stream_s_first_request_that_is_refused_is_a_wrong_configuration(
    database: DatabaseExecutor,
) -> None:
    """A refused first request of a stream raises, because no cursor caused it."""
    with pytest.raises(RequestRefusedError):
        await poller(Script({}), database).round()


async def test_a_failure_keeps_what_was_committed(database: DatabaseExecutor) -> None:
    """A failed round keeps its committed pages, and the next round continues after them."""
    first, second = cut([event(1), event(2)], [1])
    broken = Script({second.query: UnavailableError("the org does not answer")}, first=first)
    with pytest.raises(UnavailableError):
        await poller(broken, database).round()
    result = await poller(Script({second.query: second}), database).round()
    assert result.new_events == 1
    assert len(rows(database.database, "events")) == 2


async def test_of_two_pollers_on_one_org_one_gives_way(database: DatabaseExecutor) -> None:
    """If two pollers read the same cursor, the slower one's page is rolled back."""
    pages = cut([event(1), event(2)], [1])
    meeting = asyncio.Barrier(2)

    class Meets(Script):
        async def page(self, query: str) -> Page:
            await meeting.wait()
            return await super().page(query)

    both = [
        poller(Meets({}, first=page(pages[0].events, caught_up=True, following=STALE)), database).round()
        for _ in range(2)
    ]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(result, CursorMovedError) for result in results) == 1
    assert len(rows(database.database, "alerts")) == 1


async def test_a_cancelled_round_finishes_the_transaction_that_has_begun(database: DatabaseExecutor) -> None:
    """Cancelling a round finishes its running transaction first."""
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Script):
        async def page(self, query: str) -> Page:
            answer = await super().page(query)
            loop.call_soon(started.set)
            return answer

    task = asyncio.create_task(poller(Slow({}, first=cut([event(1)], [])[0]), database).round())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    events, cursor = rows(database.database, "events"), await database.run(read_cursor, ORG)
    assert (len(events), cursor is not None) in {(0, False), (1, True)}


async def test_a_round_that_waits_for_the_lock_ends_when_the_program_stops(
    database: DatabaseExecutor,
) -> None:
    """Stopping does not wait for another process that has locked the org."""
    with page_transaction(database.database, ORG, now=NOW):
        task = asyncio.create_task(poller(script(cut([event(1)], [])), database).round())
        await asyncio.sleep(0.05)
        database.stop()
        with pytest.raises(StoppedError):
            await task
    assert rows(database.database, "events") == []


async def test_what_okta_keeps_no_more_is_not_asked_for_and_said(
    database: DatabaseExecutor,
) -> None:
    """After a downtime longer than Okta's retention, polling starts at the oldest kept event, and logs the gap."""
    await poller(script(cut([event(1)], [])), database).round()
    later = NOW + timedelta(days=120)
    none = Script({}, first=page(caught_up=True, following=STALE, date=later))
    with structlog.testing.capture_logs() as logs:
        await poller(none, database, rules=RuleSet([]), now=later).round()
    assert parameters(none.asked[0])["since"] == to_text(later - timedelta(days=90))
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["events_out_of_reach"]


async def test_pages_get_smaller_when_okta_struggles_and_grow_again_when_it_does_not(
    database: DatabaseExecutor,
) -> None:
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


async def test_an_org_that_can_t_be_reached_is_no_reason_for_smaller_pages(
    database: DatabaseExecutor,
) -> None:
    """An org that can't be reached keeps its cursor and page size, however long the outage."""
    await poller(script(cut([event(1)], [])), database).round()
    tail = "/api/v1/logs?after=1&limit=1000"
    away = Script({tail: UnavailableError("connection refused")})
    polling = poller(away, database)
    for _ in range(8):
        with pytest.raises(UnavailableError):
            await polling.round()
    assert away.asked == [tail] * 8


async def test_a_clock_that_is_ahead_does_not_clamp_a_restart(database: DatabaseExecutor) -> None:
    """If the local clock is half a year ahead, a restart still starts at the restart point, by Okta's clock."""
    await poller(script(cut([event(1)], [])), database).round()
    fresh = Script({}, first=page(caught_up=True, following=STALE))
    await poller(fresh, database, rules=RuleSet([]), now=NOW + timedelta(days=180)).round()
    assert parameters(fresh.asked[-1])["since"] == to_text(NOW - timedelta(hours=24) - OVERLAP)


@pytest.mark.parametrize("link_error", [None, "a next link to another host"])
async def test_a_page_without_a_next_one_is_kept_and_is_an_error(
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


async def test_a_first_page_without_a_next_one_still_marks_the_beginning(database: DatabaseExecutor) -> None:
    """A first page without a next link still stores a cursor, so that a later start reads from the same time."""
    alone = Script({}, first=page([event(1)], query="/api/v1/logs?since=x&limit=1000"))
    for _ in range(2):
        with pytest.raises(BrokenTransferError):
            await poller(alone, database).round()
    cursor = await database.run(read_cursor, ORG)
    assert cursor is not None
    assert (cursor.began_at, cursor.last_caught_up_at) == (NOW - timedelta(hours=24), None)
    assert alone.asked[1] == "/api/v1/logs?since=x&limit=1000"


async def test_the_same_page_under_ever_new_links_is_an_error(database: DatabaseExecutor) -> None:
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
async def test_reading_goes_on_once_pages_no_longer_repeat(
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


async def test_pages_that_repeat_after_a_restart_are_no_successful_poll(database: DatabaseExecutor) -> None:
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


async def test_a_full_page_that_links_to_itself_is_an_error(database: DatabaseExecutor) -> None:
    """A full page that links to itself raises, because the events after it would never be read."""
    stuck = "/api/v1/logs?after=1&limit=2"
    full = page([event(1), event(2)], query=stuck, following=stuck, caught_up=True)
    polling = poller(Script({}, first=full), database, page_size=2)
    for _ in range(5):
        await polling.round()
    with pytest.raises(NoProgressError):
        await polling.round()


async def test_a_quiet_tail_that_links_to_itself_is_no_error(database: DatabaseExecutor) -> None:
    """The last page of a quiet org may link to itself for hours."""
    tail = "/api/v1/logs?after=1&limit=1000"
    polling = poller(Script({}, first=page([event(1)], query=tail, following=tail, caught_up=True)), database)
    for _ in range(20):
        await polling.round()


async def test_a_link_that_names_another_limit_is_followed(database: DatabaseExecutor) -> None:
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


async def test_unusable_events_are_bad_health(database: DatabaseExecutor) -> None:
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
