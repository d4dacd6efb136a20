"""A backfill reads a time range once, and resumes where it was interrupted."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.backfill import Backfiller, Progress
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import MissingPagesError, NoProgressError
from oktawatch.engine.pipeline import PageResult, Watch
from oktawatch.engine.routing import Route
from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store.cursors import read_cursor
from oktawatch.systemlog.errors import UnavailableError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, rows
from tests.support.polling import parameters
from tests.support.streams import Endless, Script, event, page

SINCE, UNTIL = NOW - timedelta(days=7), NOW
WATCH = Watch(org=ORG, rules=build_rules({}, read_file=lambda _path: ""), routes=(Route(notifier="soc"),))


def bounded(count: int) -> list[Page]:
    """Return a bounded stream of one event a page; the last page has no next link."""
    links = [f"/api/v1/logs?until=x&after={number}" for number in range(count)]
    return [
        page(
            [event(number, at=timedelta(days=number - count), client={"ipAddress": f"203.0.113.{number}"})],
            query=links[number],
            following=links[number + 1] if number + 1 < count else None,
            caught_up=number + 1 == count,
        )
        for number in range(count)
    ]


async def run(source: Any, database: DatabaseExecutor, **changes: Any) -> PageResult:
    """Run the backfill of a command line."""
    options = {"command": "--since 7d", "since": SINCE, "until": UNTIL, "notify": False}
    progress = changes.pop("progress", lambda _progress: None)
    backfiller = Backfiller(source, database, WATCH, page_size=1000, now=lambda: NOW, progress=progress)
    return await backfiller.run(**{**options, **changes})


async def test_a_backfill_follows_the_links_to_the_end(database: DatabaseExecutor) -> None:
    """A backfill requests both bounds and follows the links to the end."""
    pages = bounded(3)
    source = Script({page_.query: page_ for page_ in pages}, first=pages[0])
    result = await run(source, database)
    sent = parameters(source.asked[0])
    assert (sent["since"], sent["until"]) == (to_text(SINCE), to_text(UNTIL))
    assert source.asked[1:] == [pages[1].query, pages[2].query]
    assert (result.pages, result.new_events, result.severities) == (3, 3, {Severity.MEDIUM: 3})


async def test_notifications_are_sent_only_with_notify(database: DatabaseExecutor) -> None:
    """A backfill sends notifications only with --notify."""
    (only,) = bounded(1)
    assert (await run(Script({}, first=only), database)).notifications == 0
    assert (await run(Script({}, first=only), database, notify=True)).notifications == 1


async def test_a_backfill_does_not_move_the_polling_cursor(database: DatabaseExecutor) -> None:
    """A backfill does not move the polling cursor, before or during a poll."""
    await run(Script({}, first=bounded(1)[0]), database)
    assert await database.run(read_cursor, ORG) is None


async def test_the_same_command_resumes_an_interrupted_backfill(database: DatabaseExecutor) -> None:
    """An interrupted backfill resumes with the times of its first start, and its counts continue."""
    pages = bounded(3)
    broken = UnavailableError("the org does not answer")
    with pytest.raises(UnavailableError):
        await run(Script({pages[1].query: pages[1], pages[2].query: broken}, first=pages[0]), database)
    progress: list[Progress] = []
    source = Script({pages[2].query: pages[2]})
    result = await run(
        source, database, since=SINCE + timedelta(minutes=1), until=UNTIL + timedelta(minutes=1),
        progress=progress.append,
    )  # fmt: skip
    assert source.asked == [pages[2].query]
    assert result.new_events == 1
    assert [(reached.since, reached.until, reached.reached, reached.events) for reached in progress] == [
        (SINCE, UNTIL, UNTIL, 3)
    ]
    (row,) = rows(database.database, "backfills")
    assert (row["pages"], row["events"], row["finished_at"]) == (3, 3, NOW)


async def test_the_progress_never_goes_back(database: DatabaseExecutor) -> None:
    """A page without usable events, or with older events only, leaves the progress where it was."""
    pages = bounded(4)
    pages[1] = msgspec.structs.replace(pages[1], events=[], newest=None)
    pages[2] = msgspec.structs.replace(pages[2], newest=SINCE - timedelta(days=1))
    progress: list[Progress] = []
    source = Script({page_.query: page_ for page_ in pages}, first=pages[0])
    await run(source, database, progress=progress.append)
    assert [reached.reached for reached in progress] == [*[NOW - timedelta(days=4)] * 3, UNTIL]


@pytest.mark.parametrize("change", [{"command": "--since 8d"}, {"notify": True}])
async def test_another_command_starts_another_backfill(
    database: DatabaseExecutor, change: dict[str, Any]
) -> None:
    """A backfill is resumed only by the same command text with the same --notify."""
    pages = bounded(2)
    with pytest.raises(UnavailableError):
        await run(Script({pages[1].query: UnavailableError("no")}, first=pages[0]), database)
    source = Script({pages[1].query: pages[1]}, first=pages[0])
    await run(source, database, **change)
    assert "since" in parameters(source.asked[0])


async def test_other_rules_start_another_backfill(database: DatabaseExecutor) -> None:
    """A backfill with other rules starts again, because the link of the interrupted one contains its filter."""
    pages = bounded(2)
    with pytest.raises(UnavailableError):
        await run(Script({pages[1].query: UnavailableError("no")}, first=pages[0]), database)
    other = Watch(org=ORG, rules=RuleSet([]))
    source = Script({pages[1].query: pages[1]}, first=pages[0])
    backfiller = Backfiller(source, database, other, page_size=1000, now=lambda: NOW)
    await backfiller.run(command="--since 7d", since=SINCE, until=UNTIL, notify=False)
    assert parameters(source.asked[0])["filter"] == RuleSet([]).filter


async def test_a_finished_backfill_is_not_resumed(database: DatabaseExecutor) -> None:
    """A finished backfill that is run again reads everything again and records nothing new."""
    (only,) = bounded(1)
    assert (await run(Script({}, first=only), database)).new_events == 1
    again = await run(Script({}, first=only), database)
    assert (again.events, again.new_events, again.matches) == (1, 0, 0)
    assert len(rows(database.database, "backfills")) == 2


async def test_times_before_oktas_retention_are_not_requested(database: DatabaseExecutor) -> None:
    """A backfill requests at most the last 90 days, because Okta refuses older times."""
    source = Script({}, first=bounded(1)[0])
    await run(source, database, since=NOW - timedelta(days=400))
    assert parameters(source.asked[0])["since"] == to_text(NOW - timedelta(days=90))


@pytest.mark.parametrize("events", [[], [event(1)]], ids=["empty", "the same"])
async def test_pages_that_bring_nothing_new_raise(database: DatabaseExecutor, events: list[Event]) -> None:
    """A read whose pages bring nothing new raises an error after a few pages and is not marked as finished."""
    source = Endless(events)
    with pytest.raises(NoProgressError, match=r"have no new events.*\(acme\)"):
        await run(source, database)
    assert len(source.asked) < 10
    (row,) = rows(database.database, "backfills")
    assert row["finished_at"] is None


async def test_a_page_that_links_to_itself_raises(database: DatabaseExecutor) -> None:
    """A backfill page that links to itself raises an error instead of being read forever."""
    stuck = "/api/v1/logs?until=x&after=0"
    with pytest.raises(NoProgressError):
        await run(Script({}, first=page([event(1)], query=stuck, following=stuck)), database)


class Sequence(Script):
    """Serves these pages one after the other, whatever the requests are."""

    def __init__(self, pages: list[Page]) -> None:
        super().__init__({})
        self._pages = pages

    async def page(self, query: str) -> Page:
        """Return the next page."""
        self.asked.append(query)
        return self._pages[len(self.asked) - 1]


@pytest.mark.parametrize("size", [2, 1000])
async def test_a_full_last_page_is_checked(database: DatabaseExecutor, size: int) -> None:
    """After a full last page, a request checks whether more events exist, and then raises an error."""
    events = [event(number, at=-timedelta(minutes=size - number)) for number in range(size)]
    first = page(events, query=f"/api/v1/logs?until=x&limit={size}")
    stripped = Sequence([first, page([events[-1], event(size, at=-timedelta(seconds=1))])])
    with pytest.raises(MissingPagesError, match="no link to a next page"):
        await run(stripped, database)
    assert parameters(stripped.asked[1])["since"] == to_text(events[-1].published_at)
    (row,) = rows(database.database, "backfills")
    assert (row["finished_at"], row["events"]) == (None, size)
    assert (await run(Sequence([first, page(events[-1:])]), database)).events == size
    (row,) = rows(database.database, "backfills")
    assert row["finished_at"] == NOW


USABLE = event(1, at=-timedelta(hours=1))


def unusable(number: int) -> RejectedEvent:
    """Return an element without a time."""
    return RejectedEvent("no published", b"%d" % number)


@pytest.mark.parametrize("missing", [[], [unusable(3)]], ids=["complete", "incomplete"])
@pytest.mark.parametrize(
    ("before", "since", "again"),
    [
        ([], SINCE, []),
        ([page([USABLE])], USABLE.published_at, [USABLE]),
        ([page([USABLE]), page(rejected=[unusable(0)])], USABLE.published_at, [USABLE]),
    ],
    ids=["only page", "after a usable event", "after another page without a usable event"],
)
async def test_a_full_last_page_with_unusable_events_is_checked(
    database: DatabaseExecutor,
    before: list[Page],
    since: datetime,
    again: list[Event],
    missing: list[RejectedEvent],
) -> None:
    """A full last page with unusable events is checked by a request from the newest usable event on, or for everything."""
    last = page(rejected=[unusable(1), unusable(2)], query="/api/v1/logs?until=x&limit=2")
    linked = [
        msgspec.structs.replace(earlier, next=f"{last.query}&after={n}") for n, earlier in enumerate(before)
    ]
    earlier = [rejected for page_ in before for rejected in page_.rejected]
    rest = page(again, rejected=[*earlier, *last.rejected, *missing])
    source = Sequence([*linked, last, rest])

    if missing:
        with pytest.raises(MissingPagesError):
            await run(source, database)
    else:
        await run(source, database)

    assert parameters(source.asked[-1])["since"] == to_text(since)
    (row,) = rows(database.database, "backfills")
    assert row["finished_at"] == (None if missing else NOW)


async def test_a_link_to_another_host_leaves_the_backfill_unfinished(database: DatabaseExecutor) -> None:
    """A next link to another host stores the page's events and leaves the backfill unfinished."""
    only = page([event(1)], link_error="a next link to another host")
    with pytest.raises(MissingPagesError, match="another host"):
        await run(Script({}, first=only), database)
    (row,) = rows(database.database, "backfills")
    assert (row["finished_at"], row["new_events"]) == (None, 1)
