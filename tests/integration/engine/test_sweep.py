"""A sweep finds the events that polling missed, and no others."""

from datetime import datetime, timedelta

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import MissingPagesError, NoProgressError
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import CaughtUp
from oktawatch.engine.routing import Route
from oktawatch.engine.sweep import SETTLED, Sweeper
from oktawatch.model.event import Event
from oktawatch.model.timestamps import to_text
from oktawatch.store.cursors import read_cursor, read_swept_until
from oktawatch.systemlog.errors import UnavailableError
from tests.support.databases import NOW, ORG, rows
from tests.support.polling import parameters, poller, script
from tests.support.streams import Endless, Script, cut, event, page

EARLY = NOW - timedelta(days=1)


def sweeper(source: Script, database: DatabaseExecutor) -> Sweeper:
    """Create a sweeper of the last two hours that sends notifications."""
    watch = Watch(org=ORG, rules=build_rules({}, read_file=lambda _path: ""), routes=(Route(notifier="soc"),))
    return Sweeper(source, database, watch, page_size=1000, window=timedelta(hours=2), now=lambda: NOW)


def caught_up(began_at: datetime = EARLY) -> CaughtUp:
    """Return a poll that caught up at noon."""
    return CaughtUp(date=NOW, began_at=began_at)


async def test_a_sweep_reads_a_bounded_range_by_the_servers_clock(database: DatabaseExecutor) -> None:
    """A sweep reads a range with two bounds by the server's clock."""
    source = Script({}, first=page())
    await sweeper(source, database).round(caught_up())
    asked = parameters(source.asked[0])
    assert asked["until"] == to_text(NOW - SETTLED)
    assert asked["since"] == to_text(NOW - SETTLED - timedelta(hours=2))


async def test_missed_events_are_counted_as_late_and_notified(database: DatabaseExecutor) -> None:
    """A sweep counts missed events as late and notifies of them, and ignores the events that polling read."""
    known = event(1, at=-timedelta(hours=1))
    late = event(2, at=-timedelta(minutes=30), client={"ipAddress": "198.51.100.9"})
    await poller(script(cut([known], [])), database).round()
    cursor = await database.run(read_cursor, ORG)
    first = page([known], following="/api/v1/logs?after=s1")
    source = Script({"/api/v1/logs?after=s1": page([late])}, first=first)
    result = await sweeper(source, database).round(caught_up())
    assert (result.events, result.new_events, result.notifications) == (2, 1, 1)
    (org,) = rows(database.database, "orgs")
    assert (org["events_seen"], org["events_late"]) == (2, 1)
    assert await database.run(read_cursor, ORG) == cursor
    again = await sweeper(source, database).round(caught_up())
    assert (again.new_events, again.notifications) == (0, 0)
    assert [org["events_late"] for org in rows(database.database, "orgs")] == [1]


async def test_a_sweep_does_not_read_the_time_before_polling_began(database: DatabaseExecutor) -> None:
    """A sweep does not read the time before polling began."""
    source = Script({}, first=page())
    await sweeper(source, database).round(caught_up(NOW - timedelta(minutes=30)))
    assert parameters(source.asked[0])["since"] == to_text(NOW - timedelta(minutes=30))
    await sweeper(source, database).round(caught_up(NOW - SETTLED))
    assert len(source.asked) == 1


async def test_a_failed_sweep_keeps_its_committed_pages(database: DatabaseExecutor) -> None:
    """A failed sweep keeps its committed pages, and the next sweep reads the same time range again."""
    first = page([event(1, at=-timedelta(hours=1))], following="/api/v1/logs?after=s1")
    broken = Script({"/api/v1/logs?after=s1": UnavailableError("no")}, first=first)
    with pytest.raises(UnavailableError):
        await sweeper(broken, database).round(caught_up())
    assert [org["events_late"] for org in rows(database.database, "orgs")] == [1]


async def test_a_poller_that_caught_up_returns_the_servers_time(database: DatabaseExecutor) -> None:
    """A poller that caught up returns the server's time."""
    polling = poller(script(cut([event(1), event(2)], [1])), database)
    assert polling.caught_up is None
    await polling.round(deadline=0.0)
    assert polling.caught_up is None
    behind = "/api/v1/logs?after=1&limit=1000"
    polling = poller(Script({behind: page(caught_up=True, following=behind)}), database)
    await polling.round()
    assert polling.caught_up == CaughtUp(date=NOW, began_at=EARLY)


async def test_a_sweep_also_reads_the_range_of_missed_sweeps(database: DatabaseExecutor) -> None:
    """After missed sweeps, the next sweep also reads the time since the last one, in spite of restarts."""
    await poller(script(cut([event(1)], [])), database).round()
    source = Script({}, first=page())
    await sweeper(source, database).round(caught_up())
    await sweeper(source, database).round(CaughtUp(date=NOW + timedelta(hours=9), began_at=EARLY))
    asked = parameters(source.asked[1])
    assert asked["since"] == to_text(NOW - SETTLED - timedelta(hours=2))
    assert asked["until"] == to_text(NOW + timedelta(hours=9) - SETTLED)


@pytest.mark.parametrize("events", [[], [event(1, at=-timedelta(hours=1))]], ids=["empty", "the same"])
async def test_an_endless_sweep_raises(database: DatabaseExecutor, events: list[Event]) -> None:
    """An endless sweep raises, and the next sweep reads the same range."""
    await poller(script(cut([event(2)], [])), database).round()
    source = Endless(events)
    with pytest.raises(NoProgressError):
        await sweeper(source, database).round(caught_up())
    assert len(source.asked) < 10
    assert await database.run(read_swept_until, ORG) is None


async def test_a_sweep_that_cannot_follow_a_link_raises(database: DatabaseExecutor) -> None:
    """A sweep raises an error if it can't follow the next link."""
    await poller(script(cut([event(2)], [])), database).round()
    only = page([event(1, at=-timedelta(hours=1))], link_error="a next link to another host")
    with pytest.raises(MissingPagesError):
        await sweeper(Script({}, first=only), database).round(caught_up())
    assert await database.run(read_swept_until, ORG) is None
    assert len(rows(database.database, "events")) == 2
