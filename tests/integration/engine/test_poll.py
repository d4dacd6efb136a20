"""A polling round reads from the cursor until it has caught up."""

import asyncio
from datetime import timedelta

import pytest
import structlog

from oktawatch.detection.registry import RuleSet
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.poll import OVERLAP
from oktawatch.model.cursor import Cursor
from oktawatch.model.timestamps import to_text
from oktawatch.store.cursors import read_cursor
from oktawatch.store.errors import CursorMovedError, StoppedError
from oktawatch.store.page_transaction import page_transaction
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, rows
from tests.support.polling import STALE, parameters, poller, script
from tests.support.streams import Script, cut, event, page

FILTER = 'eventType eq "user.session.start"'


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


async def test_a_clock_that_is_ahead_misses_no_event(database: DatabaseExecutor) -> None:
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
async def test_other_clock_differences_cause_no_second_request(
    database: DatabaseExecutor, off: timedelta
) -> None:
    """A clock that is behind, or ahead by seconds, causes no second request."""
    source = script(cut([event(1)], []))
    await poller(source, database, now=NOW + off).round()
    assert len(source.asked) == 1


async def test_the_next_round_continues_at_oktas_next_link(database: DatabaseExecutor) -> None:
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


async def test_no_page_is_requested_after_one_that_caught_up(database: DatabaseExecutor) -> None:
    """The next page is not requested after a page that caught up, to save the rate limit."""
    source = script(cut([event(1), event(2), event(3)], [1, 2]))
    await poller(source, database).round()
    assert source.asked[1:] == ["/api/v1/logs?after=1&limit=1000", "/api/v1/logs?after=2&limit=1000"]


async def test_a_round_past_its_deadline_ends_after_the_current_page(database: DatabaseExecutor) -> None:
    """A round past its deadline ends after the current page, and the next round continues there."""
    source = script(cut([event(1), event(2)], [1]))
    result = await poller(source, database).round(deadline=0.0)
    cursor = await database.run(read_cursor, ORG)
    assert result.pages == 1
    assert cursor is not None
    assert cursor.last_caught_up_at is None


async def test_last_published_never_exceeds_oktas_clock(database: DatabaseExecutor) -> None:
    """`last_published` never exceeds Okta's own clock."""
    future = event(1, at=timedelta(days=30_000))
    await poller(script(cut([event(2, at=-timedelta(hours=1)), future], [])), database).round()
    cursor = await database.run(read_cursor, ORG)
    assert cursor is not None
    assert cursor.last_published == NOW


async def test_another_filter_starts_a_new_stream_a_little_earlier(database: DatabaseExecutor) -> None:
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


async def test_the_slower_of_two_pollers_rolls_back_its_page(database: DatabaseExecutor) -> None:
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


async def test_a_gap_beyond_oktas_retention_is_logged(database: DatabaseExecutor) -> None:
    """After a downtime longer than Okta's retention, polling starts at the oldest kept event, and logs the gap."""
    await poller(script(cut([event(1)], [])), database).round()
    later = NOW + timedelta(days=120)
    none = Script({}, first=page(caught_up=True, following=STALE, date=later))
    with structlog.testing.capture_logs() as logs:
        await poller(none, database, rules=RuleSet([]), now=later).round()
    assert parameters(none.asked[0])["since"] == to_text(later - timedelta(days=90))
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["events_out_of_reach"]


async def test_a_clock_that_is_ahead_does_not_change_the_restart_point(database: DatabaseExecutor) -> None:
    """If the local clock is half a year ahead, a restart still starts at the restart point, by Okta's clock."""
    await poller(script(cut([event(1)], [])), database).round()
    fresh = Script({}, first=page(caught_up=True, following=STALE))
    await poller(fresh, database, rules=RuleSet([]), now=NOW + timedelta(days=180)).round()
    assert parameters(fresh.asked[-1])["since"] == to_text(NOW - timedelta(hours=24) - OVERLAP)
