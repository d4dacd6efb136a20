"""Deliveries happen at least once, with increasing delays, and notifiers don't affect each other."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE, TROUBLE, Notifier
from oktawatch.engine.orphaned_notifications import OrphanedNotifications
from oktawatch.model.notification import DueNotification
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.composer import Composer
from oktawatch.notify.message import Message
from oktawatch.store.outbox import claim
from oktawatch.store.outbox_admin import retry
from tests.support.databases import open_database, rows
from tests.support.outbox import COMPOSER, Clock, Hanging, Receiver, put, sign_in
from tests.support.places import Place

DAY = timedelta(days=1)


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


def notifier(
    channel: Channel, database: DatabaseExecutor, clock: Clock, *, name: str = "soc", max_age: timedelta = DAY
) -> Notifier:
    """Create a notifier whose delays have no jitter."""
    return Notifier(
        name, channel, COMPOSER, database,
        max_age=max_age, now=clock, clock=clock.monotonic, jitter=lambda: 0.5,
    )  # fmt: skip


def row(database: DatabaseExecutor) -> dict[str, Any]:
    """Return the only notification."""
    (only,) = rows(database.database, "notifications")
    return only


async def test_everything_due_is_sent(database: DatabaseExecutor, clock: Clock) -> None:
    """One round empties the outbox, in order, and a second one finds nothing."""
    put(database.database, *(sign_in(number) for number in range(5)))
    receiver = Receiver()
    soc = notifier(receiver, database, clock)

    assert [await soc.round(), await soc.round()] == [5, 0]

    assert [message.body["alert"]["actor_id"] for message in receiver.taken] == [f"00u{n}" for n in range(5)]
    assert {notification["state"] for notification in rows(database.database, "notifications")} == {"sent"}


async def test_delays_grow_from_seconds_to_an_hour(database: DatabaseExecutor, clock: Clock) -> None:
    """Each failure doubles the delay, up to an hour, and the key stays the same."""
    put(database.database, sign_in(1))
    receiver = Receiver(*[DeliveryError("status 500")] * 14)
    soc = notifier(receiver, database, clock)
    waits = []
    for _ in range(14):
        await soc.round()
        due = row(database)["next_attempt_at"]
        waits.append((due - clock()).total_seconds())
        clock.reach(due)

    assert await soc.round() == 1

    assert waits == [5.625, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3150, 3150, 3150, 3150]
    assert len({message.id for message in receiver.asked}) == 1
    assert (row(database)["state"], row(database)["attempts"], row(database)["last_error"]) == (
        "sent",
        15,
        None,
    )


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [(0.0, [5, 7.5, 15, 30, 2700, 2700]), (1.0, [6.25, 12.5, 25, 50, 3600, 3600])],
)
async def test_delays_are_spread(
    database: DatabaseExecutor, clock: Clock, jitter: float, waits: list[float]
) -> None:
    """Retry delays have jitter, and lie between 5 s and an hour."""
    put(database.database, sign_in(1))
    receiver = Receiver(*[DeliveryError("no")] * 20)
    soc = Notifier(
        "soc", receiver, COMPOSER, database,
        max_age=DAY, now=clock, clock=clock.monotonic, jitter=lambda: jitter,
    )  # fmt: skip
    seen = []
    for _ in range(14):
        await soc.round()
        due = row(database)["next_attempt_at"]
        seen.append((due - clock()).total_seconds())
        clock.reach(due)

    assert [*seen[:4], *seen[-2:]] == waits
    assert all(5 <= wait <= 3600 for wait in seen)


async def test_a_receiver_says_when(database: DatabaseExecutor, clock: Clock) -> None:
    """Retry-After delays the message and all other messages to the same receiver."""
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver(DeliveryError("status 429", retry_after=timedelta(minutes=10)))
    soc = notifier(receiver, database, clock)

    await soc.round()
    clock.advance(minutes=9, seconds=59)
    assert await soc.round() == 0
    clock.advance(seconds=1)

    assert await soc.round() == 2
    assert len(receiver.asked) == 3


async def test_refused_for_good(database: DatabaseExecutor, clock: Clock) -> None:
    """A permanent refusal makes a dead letter at once, and does not delay other messages."""
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver(DeliveryError("status 410", final=True))

    assert await notifier(receiver, database, clock).round() == 1

    states = {
        notification["state"]: notification["last_error"]
        for notification in rows(database.database, "notifications")
    }
    assert states == {"dead": "status 410", "sent": None}


async def test_given_up_at_its_greatest_age(database: DatabaseExecutor, clock: Clock) -> None:
    """The last attempt is made once max_age is reached, and its failure makes a dead letter."""
    put(database.database, sign_in(1))
    soc = notifier(
        Receiver(*[DeliveryError("status 500")] * 20), database, clock, max_age=timedelta(minutes=10)
    )
    minutes = 0
    while row(database)["state"] == "pending" and minutes < 60:
        await soc.round()
        clock.advance(minutes=1)
        minutes += 1

    assert row(database)["state"] == "dead"
    assert 10 < minutes <= 16  # the receiver's current pause is added


async def test_what_waited_in_a_daemon_that_was_down_is_tried(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A message that was never tried is sent, however old it is."""
    put(database.database, sign_in(1))
    clock.advance(days=3)
    receiver = Receiver(*[DeliveryError("status 500")] * 5)
    soc = notifier(receiver, database, clock)
    for _ in range(5):
        await soc.round()
        clock.advance(minutes=5)

    assert await soc.round() == 1


async def test_a_revived_letter_does_not_die_at_once(database: DatabaseExecutor, clock: Clock) -> None:
    """A retried dead letter has the full max_age again, however old it is."""
    put(database.database, sign_in(1))
    receiver = Receiver(DeliveryError("status 410", final=True), *[DeliveryError("status 500")] * 20)
    soc = notifier(receiver, database, clock, max_age=timedelta(minutes=30))
    await soc.round()
    clock.advance(days=10)
    retry(database.database, [row(database)["id"]], now=clock())
    minutes = 0
    while row(database)["state"] == "pending" and minutes < 90:
        await soc.round()
        clock.advance(minutes=1)
        minutes += 1

    assert row(database)["state"] == "dead"
    assert 30 < minutes <= 36


async def test_what_waits_for_nobody(database: DatabaseExecutor, clock: Clock) -> None:
    """A notification for a removed notifier becomes a dead letter after a day, and is logged once."""
    put(database.database, sign_in(1), notifiers=("gone",))
    orphaned = OrphanedNotifications(["soc"], database, now=clock)
    with capture_logs() as logs:
        for _ in range(30):
            assert await orphaned.round() == 0
            clock.advance(hours=1)

    assert row(database)["state"] == "dead"
    assert [(line["event"], line["notifier"], line["count"]) for line in logs] == [
        ("notifications_given_up", "gone", 1)
    ]


async def test_a_receiver_that_is_down_gets_one_message_at_a_time(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """After three failed messages, a receiver gets one message at a time."""
    put(database.database, *(sign_in(number) for number in range(10)))
    receiver = Receiver(*[DeliveryError("status 500")] * 5)
    soc = notifier(receiver, database, clock)
    asked = []
    for _ in range(3):
        await soc.round()
        await soc.round()  # at once: paused
        asked.append(len(receiver.asked))
        clock.advance(minutes=1)

    assert asked == [TROUBLE, TROUBLE + 1, TROUBLE + 2]
    assert await soc.round() == 10
    assert (
        sum(notification["attempts"] for notification in rows(database.database, "notifications")) == 10 + 5
    )


async def test_a_receiver_that_fails_now_and_then(database: DatabaseExecutor, clock: Clock) -> None:
    """A failed request delays only its own message, by minutes."""
    put(database.database, *(sign_in(number) for number in range(200)))
    failing = [DeliveryError("status 502"), None, None, None]
    receiver = Receiver(*failing * 100)
    soc = notifier(receiver, database, clock)

    assert await soc.round() == 150
    for _ in range(36):
        clock.advance(seconds=5)
        await soc.round()

    assert len(receiver.taken) == 200


async def test_one_message_that_keeps_failing_pauses_nobody(database: DatabaseExecutor, clock: Clock) -> None:
    """A message that keeps failing does not delay a new alert."""
    put(database.database, sign_in(0))
    receiver = Receiver(*[DeliveryError("status 500")] * 5)
    soc = notifier(receiver, database, clock)
    while receiver.script:
        clock.advance(minutes=2)
        await soc.round()
    put(database.database, sign_in(1, at=clock()), now=clock())

    assert await soc.round() == 1


async def test_a_message_that_breaks_its_receiver_holds_up_no_other(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A message that its receiver can't process is sent after the others."""
    put(database.database, *(sign_in(number) for number in range(4)))

    class Picky(Receiver):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if message.body["alert"]["actor_id"] == "00u0":
                self.taken.pop()
                raise DeliveryError("status 500")

    picky = Picky()
    soc = notifier(picky, database, clock)
    await soc.round()
    clock.advance(seconds=6)
    await soc.round()

    assert sorted(message.body["alert"]["actor_id"] for message in picky.taken) == ["00u1", "00u2", "00u3"]


async def test_a_message_that_cant_be_composed(
    database: DatabaseExecutor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception in a message's text counts as a failed attempt, and the next message is sent."""
    compose = Composer.compose

    def fail_for_first_person(composer: Composer, due: DueNotification) -> Message:
        message = compose(composer, due)
        if message.body["alert"]["actor_id"] == "00u1":
            raise ValueError("00u1")
        return message

    monkeypatch.setattr(Composer, "compose", fail_for_first_person)
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver()
    with capture_logs() as logs:
        assert await notifier(receiver, database, clock).round() == 1

    assert [line["event"] for line in logs] == ["message_failed", "delivery_failed"]
    (failed,) = [row for row in rows(database.database, "notifications") if row["state"] == "pending"]
    assert failed["last_error"] == "unexpected ValueError, see the log"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError])
async def test_a_bug_in_a_channel(
    database: DatabaseExecutor, clock: Clock, kind: type[BaseException]
) -> None:
    """An unexpected exception of a channel counts as a failed attempt, and its text is not stored."""
    put(database.database, sign_in(1))
    with capture_logs() as logs:
        await notifier(Receiver(kind("https://user:hunter2@example.com")), database, clock).round()

    assert [line["event"] for line in logs] == ["channel_failed", "delivery_failed"]
    assert row(database)["last_error"] == f"unexpected {kind.__name__}, see the log"


async def test_a_channel_that_hangs(
    database: DatabaseExecutor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel that hangs is cancelled, which counts as a failed attempt."""
    monkeypatch.setattr(channel_calls, "SEND_WITHIN", timedelta())
    put(database.database, sign_in(1))

    assert await notifier(Hanging(), database, clock).round() == 0

    assert (row(database)["state"], row(database)["attempts"]) == ("pending", 1)
    assert row(database)["last_error"].startswith("no answer within")


async def test_stopped_in_the_middle_of_a_send(database: DatabaseExecutor, clock: Clock) -> None:
    """An interrupted message is not marked, and is sent with the same id once its claim has expired."""
    put(database.database, sign_in(1))
    hanging = Hanging()
    stopped = asyncio.create_task(notifier(hanging, database, clock).round())
    await hanging.begun.wait()
    stopped.cancel()
    await asyncio.wait([stopped])
    assert stopped.cancelled()
    assert row(database)["state"] == "pending"
    receiver = Receiver()
    soc = notifier(receiver, database, clock)

    assert await soc.round() == 0
    clock.advance(seconds=LEASE.total_seconds())

    assert await soc.round() == 1
    assert [message.id for message in receiver.taken] == [row(database)["id"]]


async def test_one_that_fails_delays_no_other(database: DatabaseExecutor, clock: Clock) -> None:
    """A failing notifier does not delay the others."""
    put(database.database, sign_in(1), sign_in(2), notifiers=("soc", "pager"))
    broken = notifier(Receiver(*[DeliveryError("status 500")] * 2), database, clock)
    good = notifier(Receiver(), database, clock, name="pager")

    assert [await broken.round(), await good.round()] == [0, 2]


async def test_a_slow_receiver_ends_a_round(database: DatabaseExecutor, clock: Clock) -> None:
    """A round that takes too long ends after the current message."""
    put(database.database, *(sign_in(number) for number in range(10)))

    class Slow(Receiver):
        async def send(self, message: Message) -> None:
            clock.advance(seconds=25)
            await super().send(message)

    assert await notifier(Slow(), database, clock).round() == 3


async def test_a_message_tried_while_the_clock_was_ahead_is_tried_again(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Once the clock is right, a message and its receiver's other messages are not delayed by a day."""
    put(database.database, sign_in(1))
    receiver = Receiver(DeliveryError("status 500"))
    soc = notifier(receiver, database, clock)
    clock.jump(days=1)
    await soc.round()
    clock.jump(days=-1)
    put(database.database, sign_in(2), now=clock())
    clock.advance(seconds=6)

    with capture_logs() as logs:
        assert await soc.round() == 2

    repaired = [line for line in logs if line["event"] == "delivery_times_repaired"]
    assert [(line["notifier"], line["notifications"]) for line in repaired] == [("soc", 1)]


async def test_a_message_from_the_future_is_sent(database: DatabaseExecutor, clock: Clock) -> None:
    """Notifications that were enqueued or claimed while the clock was ahead are sent."""
    put(database.database, sign_in(1), now=clock() + DAY)
    await database.run(claim, "soc", now=clock() + DAY, lease=LEASE)
    put(database.database, sign_in(2), now=clock() + timedelta(minutes=10))
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 2
    assert {notification["created_at"] for notification in rows(database.database, "notifications")} == {
        clock()
    }


async def test_a_wait_that_is_meant_is_kept(database: DatabaseExecutor, clock: Clock) -> None:
    """Neither a start nor a clock jump shortens a regular delay or claim."""
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver(DeliveryError("status 429", retry_after=timedelta(minutes=50)))
    await notifier(receiver, database, clock).round()
    await database.run(claim, "soc", now=clock(), lease=LEASE)
    before = rows(database.database, "notifications")

    assert await notifier(receiver, database, clock).round() == 0
    assert rows(database.database, "notifications") == before


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(hours=2)])
async def test_a_pause_lasts_as_long_as_it_should(
    database: DatabaseExecutor, clock: Clock, jump: timedelta
) -> None:
    """A pause lasts exactly as long as the receiver asked for, even if the wall clock jumps."""
    put(database.database, sign_in(1))
    receiver = Receiver(DeliveryError("status 429", retry_after=timedelta(minutes=10)))
    soc = notifier(receiver, database, clock)
    await soc.round()
    clock.jump(seconds=jump.total_seconds())
    clock.advance(minutes=9)
    put(database.database, sign_in(2), now=clock())
    early = await soc.round()
    clock.advance(minutes=1)

    assert (early, await soc.round()) == (0, 2)
