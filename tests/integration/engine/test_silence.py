"""The silence alarm in virtual time: raised once and ended once, in spite of restarts."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.routing import Route
from oktawatch.engine.silence import SilenceWatch
from oktawatch.model.cursor import Cursor
from oktawatch.store.cursors import count_elements, move_cursor, read_cursor
from oktawatch.store.database import Database
from oktawatch.store.orgs import record_failure
from oktawatch.store.page_transaction import page_transaction
from tests.support.databases import NOW, open_database, rows
from tests.support.outbox import Clock
from tests.support.places import Place

AFTER = timedelta(minutes=15)


class Watched:
    """Two orgs, three notifiers, and a clock."""

    def __init__(self, database: Database, executor: DatabaseExecutor) -> None:
        self.database = database
        self.clock = Clock()
        self._executor = executor

    def start(self, *orgs: str) -> SilenceWatch:
        """Start watching, as a process does when it starts."""
        routes = (
            Route(notifier="all"),
            Route(notifier="prod", orgs=("#prod",)),
            Route(notifier="acme", orgs=("acme",)),
        )
        tags: dict[str, Sequence[str]] = {
            org: ("prod",) if org == "globex" else () for org in orgs or ("acme", "globex")
        }
        return SilenceWatch(
            tags, routes, self._executor, after=AFTER, now=self.clock, clock=self.clock.monotonic
        )

    def poll(self, org: str, error: str | None = None) -> None:
        """Record the end of a poll."""
        if error is not None:
            record_failure(self.database, org, error, now=self.clock())
            return
        read = read_cursor(self.database, org)
        to = Cursor(filter="f", query=f"/api/v1/logs?after={self.clock()}", began_at=NOW)
        with page_transaction(self.database, org, now=self.clock()) as transaction:
            move_cursor(transaction, read, to)

    async def pass_(self, watch: SilenceWatch, minutes: int, **polls: str | None) -> None:
        """Advance the time by minutes, each with a poll of some orgs and a check."""
        for _ in range(minutes):
            self.clock.advance(minutes=1)
            for org, error in polls.items():
                self.poll(org, error)
            await watch.check()

    @property
    def sent(self) -> list[tuple[str, str, list[str]]]:
        """The sent messages in order, with their receivers and subjects."""
        messages = sorted(
            rows(self.database, "notifications"), key=lambda row: (row["created_at"], row["notifier"])
        )
        assert {row["kind"] for row in messages} <= {"silence"}
        return [
            (row["notifier"], row["content"]["state"], [alarm["name"] for alarm in row["content"]["about"]])
            for row in messages
        ]


@pytest.fixture
def watched(place: Place) -> Iterator[Watched]:
    """Watch two orgs that were polled a moment ago."""
    with open_database(place, "globex") as database:
        executor = DatabaseExecutor(place.url)
        made = Watched(database, executor)
        made.poll("acme")
        made.poll("globex")
        try:
            yield made
        finally:
            executor.close()


async def test_an_org_that_is_polled_raises_no_alarm(watched: Watched) -> None:
    """An org that is polled without events raises no alarm."""
    await watched.pass_(watched.start(), 60, acme=None, globex=None)

    assert watched.sent == []


async def test_silence_raises_and_ends_one_alarm(watched: Watched) -> None:
    """The notifiers of the org get one alarm with the reason, and one message at the end."""
    watch = watched.start()

    await watched.pass_(watch, 60, acme="Okta refuses the token", globex=None)
    before = watched.sent
    await watched.pass_(watch, 60, acme=None, globex=None)

    assert before == [("acme", "raised", ["acme"]), ("all", "raised", ["acme"])]
    assert watched.sent[2:] == [("acme", "over", ["acme"]), ("all", "over", ["acme"])]
    notifications = rows(watched.database, "notifications")
    about: list[dict[str, Any]] = [
        alarm for row in notifications for alarm in row["content"]["about"] if "error" in alarm
    ]
    assert {alarm["error"] for alarm in about} == {"Okta refuses the token"}
    assert {row["created_at"] for row in notifications if row["content"]["state"] == "raised"} == {
        NOW + timedelta(minutes=16)
    }


async def test_a_restart_neither_repeats_an_alarm_nor_forgets_to_end_it(watched: Watched) -> None:
    """A restart neither repeats an active alarm nor forgets to end it."""
    await watched.pass_(watched.start(), 20, acme="down", globex=None)
    for _ in range(3):
        await watched.pass_(watched.start(), 20, acme="down", globex=None)
    before = watched.sent

    await watched.pass_(watched.start(), 1, acme=None, globex=None)

    assert len(before) == 2
    assert [state for _, state, _ in watched.sent] == ["raised", "raised", "over", "over"]


async def test_a_daemon_that_was_down_raises_no_alarm(watched: Watched) -> None:
    """A daemon that was down for a day raises no alarm before its first poll had enough time."""
    watched.clock.advance(days=1)
    watch = watched.start()

    await watch.check()
    await watched.pass_(watch, 5, acme=None, globex=None)

    assert watched.sent == []


async def test_after_a_downtime_the_first_failed_poll_raises_the_alarm(watched: Watched) -> None:
    """After a downtime, the first failed poll raises the alarm, even if the daemon is restarted again and again."""
    watched.clock.advance(days=1)
    watch = watched.start()

    await watched.pass_(watch, 1, acme="down", globex=None)

    assert [names for _, _, names in watched.sent] == [["acme"], ["acme"]]


async def test_after_a_downtime_an_org_is_undecided_until_its_first_poll_ends(watched: Watched) -> None:
    """A silent org is undecided until this process has polled it."""
    watched.clock.advance(days=1)
    watch = watched.start()
    await watch.check()
    assert watch.undecided == {"acme", "globex"}

    await watched.pass_(watch, 1, acme="down", globex=None)
    assert watch.undecided == set()

    await watched.pass_(watch, 1, acme="down", globex=None)
    assert watch.undecided == set()


async def test_polls_that_never_end_raise_the_alarm(watched: Watched) -> None:
    """Polls that neither fail nor end raise the alarm."""
    await watched.pass_(watched.start(), 16)

    assert ("all", "raised", ["acme", "globex"]) in watched.sent


async def test_a_restart_ends_no_alarm(watched: Watched) -> None:
    """After a restart, an alarm ends only with a successful poll."""
    await watched.pass_(watched.start(), 20, acme="down", globex=None)
    watched.clock.advance(days=1)

    await watched.start().check()

    assert {state for _, state, _ in watched.sent} == {"raised"}


async def test_many_orgs_at_once_are_one_message(watched: Watched) -> None:
    """Each notifier gets one message about all of its silent orgs."""
    await watched.pass_(watched.start(), 20, acme="the network is down", globex="the network is down")

    assert watched.sent == [
        ("acme", "raised", ["acme"]),
        ("all", "raised", ["acme", "globex"]),
        ("prod", "raised", ["globex"]),
    ]


async def test_silence_of_a_new_org_counts_from_its_registration(watched: Watched) -> None:
    """The silence of an org that was never polled counts from its registration."""
    with watched.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM cursors")

    await watched.pass_(watched.start(), 20, acme="Okta refuses the token", globex=None)

    assert watched.sent == [("acme", "raised", ["acme"]), ("all", "raised", ["acme"])]


async def test_the_alarm_of_a_removed_org_ends_without_a_message(watched: Watched) -> None:
    """The alarm of an org that is no longer configured ends without a message."""
    await watched.pass_(watched.start(), 20, acme="down", globex=None)

    await watched.pass_(watched.start("globex"), 20, globex=None)

    assert {state for _, state, _ in watched.sent} == {"raised"}
    assert rows(watched.database, "alarms") == []


async def test_two_replicas_raise_an_alarm_once(watched: Watched) -> None:
    """Two replicas raise an alarm once."""
    first, second = watched.start(), watched.start()

    await watched.pass_(first, 20, acme="down", globex=None)
    await watched.pass_(second, 20, acme="down", globex=None)

    assert len(watched.sent) == 2


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(days=-1), timedelta(minutes=-20)])
async def test_a_clock_that_is_set_back_hides_no_silence(watched: Watched, jump: timedelta) -> None:
    """An org is reported in time although its last poll is in the future."""
    watch = watched.start()
    await watched.pass_(watch, 20, acme=None, globex=None)
    watched.clock.jump(seconds=jump.total_seconds())

    await watched.pass_(watch, 16, acme="down", globex=None)

    assert watched.sent == [("acme", "raised", ["acme"]), ("all", "raised", ["acme"])]


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=1), timedelta(days=9_000)])
async def test_a_clock_that_jumps_forward_raises_no_alarm(watched: Watched, jump: timedelta) -> None:
    """A clock that jumps forward and back raises no alarm."""
    watch = watched.start()
    await watched.pass_(watch, 20, acme=None, globex=None)
    for seconds in (jump.total_seconds(), -jump.total_seconds()):
        watched.clock.jump(seconds=seconds)
        await watch.check()
        await watched.pass_(watch, 20, acme=None, globex=None)

    assert watched.sent == []


async def test_a_poll_in_the_future_delays_no_alarm(watched: Watched) -> None:
    """A daemon that starts after the clock was set right raises the alarm after the usual time."""
    watched.clock.jump(days=1)
    watched.poll("acme")
    watched.clock.jump(days=-1)

    await watched.pass_(watched.start(), 17, acme="down", globex=None)

    assert watched.sent == [("acme", "raised", ["acme"]), ("all", "raised", ["acme"])]


async def test_a_clock_that_is_set_back_ends_no_alarm(watched: Watched) -> None:
    """A clock that is set back ends no alarm before a successful poll, with or without a restart."""
    watch = watched.start()
    await watched.pass_(watch, 20, acme="down", globex=None)
    watched.clock.jump(days=-1)
    await watched.pass_(watch, 20, acme="down", globex=None)
    await watched.pass_(watched.start(), 20, acme="down", globex=None)
    before = {state for _, state, _ in watched.sent}

    await watched.pass_(watched.start(), 1, acme=None, globex=None)

    assert before == {"raised"}
    assert {state for _, state, _ in watched.sent} == {"raised", "over"}


async def test_unusable_events_raise_one_alarm(watched: Watched) -> None:
    """Unusable events raise one alarm, and end it once events can be used again."""
    watch = watched.start()

    def bring(elements: int, rejected: int) -> None:
        with page_transaction(watched.database, "acme", now=watched.clock()) as transaction:
            count_elements(transaction, elements=elements, rejected=rejected)

    bring(50, 2)
    await watched.pass_(watch, 3, acme=None, globex=None)
    before = watched.sent
    bring(5, 5)
    await watched.pass_(watch, 3, acme=None, globex=None)
    raised = watched.sent
    await watched.pass_(watched.start(), 3, acme=None, globex=None)
    assert watched.sent == raised
    for _ in range(4):
        bring(60, 0)
    await watched.pass_(watch, 3, acme=None, globex=None)

    assert before == []
    assert raised == [("acme", "raised", ["acme"]), ("all", "raised", ["acme"])]
    assert watched.sent[2:] == [("acme", "over", ["acme"]), ("all", "over", ["acme"])]
    (message, *_) = rows(watched.database, "notifications")
    assert {about["what"] for about in message["content"]["about"]} == {"events"}
