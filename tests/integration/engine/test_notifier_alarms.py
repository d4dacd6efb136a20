"""The other notifiers get one alarm about a notifier that can't deliver, and one message when it is over."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier, record_failure, record_success
from oktawatch.engine.silence import SilenceWatch
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.escalation import REPEAT_AFTER, Escalation
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.outbox import claim
from tests.support.databases import NOW, open_database, rows
from tests.support.outbox import COMPOSER, Clock, Receiver, put, sign_in
from tests.support.places import Place

AFTER = timedelta(minutes=15)
NAMES = ("soc", "pager", "mail")
GONE = DeliveryError("status 410", final=True)
DOWN = DeliveryError("status 503")


def escalation(name: str) -> Escalation:
    """Return an escalation to all other notifiers."""
    return Escalation(names=tuple(other for other in NAMES if other != name), after=AFTER)


class Team:
    """Three notifiers with one database, clock and silence watch."""

    def __init__(self, executor: DatabaseExecutor) -> None:
        self.executor = executor
        self.clock = Clock()
        self.receivers = {name: Receiver() for name in NAMES}
        self.count = 0
        self.start()

    def start(self) -> None:
        """Start again, as after a restart."""
        self.notifiers = {
            name: Notifier(
                name, self.receivers[name], COMPOSER, self.executor,
                max_age=timedelta(days=1), escalation=escalation(name), now=self.clock, clock=self.clock.monotonic,
                jitter=lambda: 0.5,
            )
            for name in NAMES
        }  # fmt: skip
        self.watch = SilenceWatch(
            {}, (), self.executor, after=AFTER, notifiers={name: escalation(name) for name in NAMES},
            now=self.clock, clock=self.clock.monotonic,
        )  # fmt: skip

    def alert(self, *names: str) -> None:
        """Commit a page with a sign-in whose alert is sent to these notifiers."""
        self.count += 1
        put(self.executor.database, sign_in(self.count, at=self.clock()), now=self.clock(), notifiers=names)

    async def round(self) -> None:
        """Deliver the due messages, and check the notifiers."""
        for notifier in self.notifiers.values():
            await notifier.round()
        await self.watch.check()

    async def pass_(self, minutes: int) -> None:
        """Advance the time by minutes."""
        for _ in range(minutes):
            self.clock.advance(minutes=1)
            await self.round()

    def received(self, name: str) -> list[tuple[str, list[str]]]:
        """Return the alarms that a notifier has received: their types and subjects."""
        return [
            (message.type, [about["name"] for about in message.body["silence"]["about"]])
            for message in self.receivers[name].taken
            if message.type.startswith("silence")
        ]

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms in the outbox, in the order in which they were sent."""
        found = [row for row in rows(self.executor.database, "notifications") if row["kind"] == "silence"]
        return sorted(found, key=lambda row: (row["created_at"], row["notifier"]))


@pytest.fixture
def executor(place: Place) -> Iterator[DatabaseExecutor]:
    """Yield a database with its threads."""
    with open_database(place):
        made = DatabaseExecutor(place.url)
        yield made
        made.close()


@pytest.fixture
def team(executor: DatabaseExecutor) -> Team:
    """Return a team."""
    return Team(executor)


async def test_a_dead_letter_raises_an_alarm_at_once(team: Team) -> None:
    """The other notifiers get an alarm with the reason, and one message at the next success."""
    team.receivers["soc"].script = [GONE]
    team.alert("soc")
    with capture_logs() as logs:
        await team.round()
        await team.pass_(5)
        team.alert("soc")
        await team.pass_(1)

    assert (
        team.received("pager")
        == team.received("mail")
        == [("silence.raised", ["soc"]), ("silence.over", ["soc"])]
    )
    assert team.received("soc") == []
    raised, over = (message.body["silence"]["about"][0] for message in team.receivers["pager"].taken)
    assert raised == {
        "what": "notifier",
        "name": "soc",
        "since": "2026-11-02T12:00:00.000Z",
        "error": "status 410",
    }
    assert over == {
        "what": "notifier", "name": "soc", "since": "2026-11-02T12:00:00.000Z", "until": "2026-11-02T12:06:00.000Z",
    }  # fmt: skip
    events = [line["event"] for line in logs if line["event"].startswith("notifier_")]
    assert events == ["notifier_failing", "notifier_recovered"]


async def test_a_notifier_that_fails_for_long_raises_one_alarm(team: Team) -> None:
    """An alarm is raised once, `silence.after` after the first failure, even if the next attempt is much later."""
    team.receivers["soc"].script = [DOWN] * 100
    team.alert("soc")
    await team.round()
    await team.pass_(15)
    before = team.alarms
    await team.pass_(60)

    assert [(row["notifier"], row["created_at"]) for row in before] == [
        ("mail", NOW + AFTER),
        ("pager", NOW + AFTER),
    ]
    assert team.received("pager") == [("silence.raised", ["soc"])]


async def test_a_short_outage_raises_no_alarm(team: Team) -> None:
    """A short outage of a receiver raises no alarm."""
    team.receivers["soc"].script = [DOWN] * 3
    team.alert("soc")
    await team.round()
    await team.pass_(60)

    assert len(team.receivers["soc"].taken) == 1
    assert team.alarms == []


async def test_an_unstable_receiver_raises_at_most_one_alarm_an_hour(team: Team) -> None:
    """A receiver that refuses every other message causes at most one alarm an hour."""
    for _ in range(50):
        team.receivers["soc"].script = [GONE]
        team.alert("soc")
        await team.pass_(1)
        team.alert("soc")
        await team.pass_(1)

    assert team.received("pager") == [
        ("silence.raised", ["soc"]), ("silence.over", ["soc"]), ("silence.raised", ["soc"]), ("silence.over", ["soc"]),
    ]  # fmt: skip
    first, second = (row["created_at"] for row in team.alarms if row["content"]["state"] == "raised" and row["notifier"] == "mail")  # fmt: skip
    assert second - first >= REPEAT_AFTER


async def test_an_unstable_receiver_that_stays_down_raises_an_alarm(team: Team) -> None:
    """An hour without a success causes an alarm, even if nothing more is sent."""
    for script in ([GONE], [], [GONE]):
        team.receivers["soc"].script = list(script)
        team.alert("soc")
        await team.pass_(1)
    before = team.received("pager")
    await team.pass_(70)

    assert before == [("silence.raised", ["soc"]), ("silence.over", ["soc"])]
    assert team.received("pager")[2:] == [("silence.raised", ["soc"])]


async def test_dead_letters_of_alarms_raise_no_alarm(team: Team) -> None:
    """If all notifiers fail, each raises one alarm, and dead letters of alarms raise no further ones."""
    for receiver in team.receivers.values():
        receiver.script = [GONE] * 1_000
    team.alert("soc", "pager")
    await team.pass_(300)

    alarms = [(row["content"]["about"][0]["name"], row["notifier"], row["state"]) for row in team.alarms]
    assert sorted(alarms) == [
        (name, other, "dead") for name in sorted(NAMES) for other in sorted(NAMES) if other != name
    ]


async def test_a_restart_neither_repeats_an_alarm_nor_forgets_to_end_it(team: Team) -> None:
    """A restart neither repeats an alarm nor forgets to end it."""
    team.receivers["soc"].script = [DOWN] * 9
    team.alert("soc")
    for _ in range(4):
        team.start()
        await team.pass_(30)
    team.start()
    await team.pass_(60)

    assert team.received("pager") == [("silence.raised", ["soc"]), ("silence.over", ["soc"])]


async def test_after_a_downtime_the_next_attempt_decides(team: Team) -> None:
    """After a downtime, only the next attempt decides about an alarm."""
    team.receivers["soc"].script = [DOWN]
    team.alert("soc")
    await team.round()
    team.clock.advance(days=1)
    team.start()
    await team.round()

    assert team.alarms == []
    assert len(team.receivers["soc"].taken) == 1


async def test_a_single_notifier_raises_no_alarm(team: Team, executor: DatabaseExecutor) -> None:
    """With a single notifier, a failure is logged and no alarm is enqueued."""
    team.alert("soc")
    alone = Notifier(
        "soc", Receiver(GONE), COMPOSER, executor,
        max_age=timedelta(days=1), now=team.clock, clock=team.clock.monotonic,
    )  # fmt: skip
    with capture_logs() as logs:
        await alone.round()

    assert "notifier_failing" in [line["event"] for line in logs]
    assert team.alarms == []


def test_several_processes_raise_an_alarm_once(executor: DatabaseExecutor) -> None:
    """Of several processes, only the first raises and ends an alarm."""
    database: Database = executor.database
    put(database, *(sign_in(number) for number in range(8)))
    claimed = [claim(database, "soc", now=NOW, lease=AFTER) for _ in range(8)]
    ids = [due.id for due in claimed if due is not None]
    to_others = escalation("soc")

    def die(notification_id: str) -> bool:
        return record_failure(
            database, "soc", notification_id, to_others, error="status 410", next_attempt_at=None, now=NOW
        )

    def succeed(notification_id: str) -> bool:
        return record_success(database, "soc", notification_id, to_others, now=NOW + AFTER)

    with ThreadPoolExecutor(4) as processes:
        raised = list(processes.map(die, ids))
        over = list(processes.map(succeed, ids))

    assert (raised.count(True), over.count(True)) == (1, 1)
    states = [row["content"]["state"] for row in rows(database, "notifications") if row["kind"] == "silence"]
    assert sorted(states) == ["over", "over", "raised", "raised"]


def test_a_failure_is_recorded_only_with_its_alarm(
    executor: DatabaseExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the alarm can't be enqueued, the notifier's failure is not recorded either."""

    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    database = executor.database
    put(database, sign_in(1))
    due = claim(database, "soc", now=NOW, lease=AFTER)
    assert due is not None
    monkeypatch.setattr("oktawatch.store.notifiers.enqueue_alarms", fail)
    to_others = escalation("soc")
    with pytest.raises(StoreError):
        record_failure(database, "soc", due.id, to_others, error="no", next_attempt_at=None, now=NOW)

    (row,) = rows(database, "notifications")
    assert row["state"] == "pending"
    assert rows(database, "notifiers") == []


async def test_a_failure_dated_by_a_clock_ahead_raises_an_alarm_at_once(team: Team) -> None:
    """A failure that was recorded while the clock was ahead causes an alarm without delay."""
    team.receivers["soc"].script = [DeliveryError("status 500")] * 100
    team.clock.jump(days=1)
    team.alert("soc")
    await team.round()
    team.clock.jump(days=-1)

    await team.pass_(40)

    assert team.received("pager") == team.received("mail") == [("silence.raised", ["soc"])]


async def test_an_alarm_dated_by_a_clock_ahead_suppresses_no_later_one(team: Team) -> None:
    """An alarm that began and ended while the clock was ahead doesn't suppress a later one."""
    team.receivers["soc"].script = [GONE, None, GONE]
    team.clock.jump(days=1)
    team.alert("soc")
    await team.round()
    team.clock.jump(days=-1)
    for _ in range(2):
        team.clock.advance(hours=2)
        team.alert("soc")
        await team.round()
    await team.pass_(2)

    assert [kind for kind, _ in team.received("pager")] == [
        "silence.raised",
        "silence.over",
        "silence.raised",
    ]
