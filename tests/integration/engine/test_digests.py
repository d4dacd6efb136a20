"""A flood of alerts causes few messages."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE, plan_messages
from oktawatch.model.notification import DueNotification
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.message import Message
from oktawatch.store.outbox import claim
from tests.support.databases import NOW, rows
from tests.support.delivery import digests, notifier
from tests.support.outbox import HIGH_RULES, Clock, Receiver, put, sign_in


def states(database: DatabaseExecutor) -> dict[str, int]:
    """Count the notifications by their state."""
    counts: dict[str, int] = {}
    for row in rows(database.database, "notifications"):
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts


def apart(count: int, first: int = 0) -> list[Any]:
    """Return sign-ins of different people from different addresses and networks."""
    return [sign_in(first + n, ip=f"198.51.100.{n % 250}") for n in range(count)]


async def test_alerts_beyond_the_limit_are_sent_in_one_digest(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """The oldest alerts are sent one by one and the rest in one digest, within max_per_minute."""
    put(database.database, *apart(50))
    clock.advance(seconds=1)
    receiver = Receiver()

    assert await notifier(receiver, database, clock, per_minute=10).round() == 10

    assert [message.type for message in receiver.taken] == ["alert.opened"] * 9 + ["digest"]
    (digest,) = digests(receiver)
    assert (digest["reason"], digest["alerts"], digest["people"]) == ("above", 41, 41)
    assert digest["severities"] == {"MEDIUM": 41}
    assert digest["rules"] == {"Okta.Anonymizing.VPN.Login": 41}
    assert len(digest["who"]) == len(digest["addresses"]) == 5
    assert states(database) == {"sent": 10, "digested": 41}
    assert receiver.taken[-1].heading == "[MEDIUM] 41 more alerts (acme)"
    assert "oktawatch alerts list --since 2026-11-02T12:00:00Z" in receiver.taken[-1].plain()


async def test_messages_beyond_the_limit_wait_for_the_next_minute(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Messages beyond the limit wait for the next minute, and are folded again if there are too many."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
    put(database.database, *apart(50))
    await soc.round()
    put(database.database, *apart(30, first=100), now=clock())
    clock.advance(seconds=30)
    assert await soc.round() == 0
    clock.advance(seconds=31)

    assert await soc.round() == 10

    assert [digest["alerts"] for digest in digests(receiver)] == [41, 21]
    assert states(database) == {"sent": 20, "digested": 62}


async def test_a_high_alert_is_sent_during_a_flood(database: DatabaseExecutor, clock: Clock) -> None:
    """A HIGH alert is sent in the next round by itself, even if a flood has used up the minute's limit."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
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


async def test_urgent_alerts_beyond_their_limit_leave_one_urgent_digest(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Urgent alerts beyond their limit leave one urgent digest, and the flood's digest holds the least severe."""
    put(database.database, *apart(40))
    put(database.database, *(sign_in(500 + n, ip=f"192.0.2.{n}") for n in range(30)), rules=HIGH_RULES)
    receiver = Receiver()

    assert await notifier(receiver, database, clock, per_minute=10).round() == 20

    severities = [message.severity and message.severity.name for message in receiver.taken]
    assert severities == ["HIGH"] * 10 + ["MEDIUM"] * 10
    assert [(digest["alerts"], digest["severities"]) for digest in digests(receiver)] == [
        (21, {"HIGH": 21}),
        (31, {"MEDIUM": 31}),
    ]
    assert receiver.taken[9].heading == "[HIGH] 21 more alerts (acme)"


async def test_a_high_alert_during_a_long_round_is_sent_within_seconds(
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
    await notifier(slow, database, clock, per_minute=10).round()

    severities = [message.severity and message.severity.name for message in slow.taken]
    assert severities.index("HIGH") <= 4


async def test_alerts_within_the_limit_are_sent_one_by_one(database: DatabaseExecutor, clock: Clock) -> None:
    """Alerts within the limit are not folded into a digest."""
    put(database.database, *apart(10))
    receiver = Receiver()

    assert await notifier(receiver, database, clock, per_minute=10).round() == 10

    assert digests(receiver) == []


async def test_old_alerts_are_sent_in_one_digest(database: DatabaseExecutor, clock: Clock) -> None:
    """A first run sends old alerts in one digest, and new alerts one by one."""
    past = [sign_in(n, at=NOW - timedelta(hours=2 + n)) for n in range(30)]
    put(database.database, *past, sign_in(50))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=10).round()

    (digest,) = digests(receiver)
    assert (digest["reason"], digest["alerts"]) == ("late", 30)
    assert {message.type for message in receiver.taken} == {"alert.opened", "digest"}
    assert len(receiver.taken) == 2
    (heading,) = [message.heading for message in receiver.taken if message.type == "digest"]
    assert heading == "[MEDIUM] 30 alerts about old events (acme)"


async def test_a_single_old_alert_is_sent_by_itself(database: DatabaseExecutor, clock: Clock) -> None:
    """A single old alert is sent by itself and not as a digest."""
    put(database.database, sign_in(1, at=NOW - timedelta(hours=5)))
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=10).round()

    assert [message.type for message in receiver.taken] == ["alert.opened"]


async def test_a_backlog_is_sent_in_one_digest_a_minute(database: DatabaseExecutor, clock: Clock) -> None:
    """Alerts of a backlog are collected while its pages are read."""
    soc = notifier(receiver := Receiver(), database, clock, per_minute=10)
    for page in range(12):
        past = [sign_in(10 * page + n, at=NOW - timedelta(hours=2)) for n in range(10)]
        put(database.database, *past, now=clock())
        await soc.round()
        clock.advance(seconds=5)
    clock.advance(seconds=60)
    await soc.round()

    assert [digest["alerts"] for digest in digests(receiver)] == [10, 110]


async def test_a_digest_is_retried_unchanged(database: DatabaseExecutor, clock: Clock) -> None:
    """A digest that may have been received is not changed; later alerts go into another one."""
    receiver = Receiver(*[None] * 9, DeliveryError("status 500"))
    soc = notifier(receiver, database, clock, per_minute=10)
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


async def test_a_digest_that_was_not_marked_is_sent_again_unchanged(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A digest that was sent but not marked is sent again unchanged."""
    put(database.database, *apart(50))
    assert len(plan_messages(database.database, "soc", now=clock(), per_minute=1).send) == 1
    assert claim(database.database, "soc", now=clock(), lease=LEASE) is not None
    clock.advance(seconds=LEASE.total_seconds())
    put(database.database, *apart(50, first=100), now=clock())
    receiver = Receiver()

    await notifier(receiver, database, clock, per_minute=10).round()

    assert [digest["alerts"] for digest in digests(receiver)] == [50, 42]


async def test_an_alert_that_was_not_marked_is_sent_again_with_its_key(
    database: DatabaseExecutor, clock: Clock
) -> None:
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


def test_concurrent_processes_put_each_alert_in_one_message(database: DatabaseExecutor) -> None:
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


async def test_alerts_are_folded_once_after_a_long_outage(database: DatabaseExecutor, clock: Clock) -> None:
    """Waiting alerts are folded once the receiver is back, not at each attempt."""
    receiver = Receiver(*[DeliveryError("status 503")] * 30)
    soc = notifier(receiver, database, clock, per_minute=10)
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


async def test_messages_sent_by_a_clock_that_was_ahead_do_not_count(
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

    assert await notifier(receiver, database, clock, per_minute=10).round() == 2
    assert digests(receiver) == []
