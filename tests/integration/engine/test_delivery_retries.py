"""Failed deliveries are retried with increasing delays until their maximum age."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE, TROUBLE
from oktawatch.notify.channel import DeliveryError
from oktawatch.store.outbox import claim
from oktawatch.store.outbox_admin import retry
from tests.support.databases import rows
from tests.support.delivery import notifier, only_notification
from tests.support.outbox import Clock, Receiver, put, sign_in


async def test_delays_grow_from_seconds_to_an_hour(database: DatabaseExecutor, clock: Clock) -> None:
    """Each failure doubles the delay, up to an hour, and the key stays the same."""
    put(database.database, sign_in(1))
    receiver = Receiver(*[DeliveryError("status 500")] * 14)
    soc = notifier(receiver, database, clock)
    waits = []
    for _ in range(14):
        await soc.round()
        due = only_notification(database)["next_attempt_at"]
        waits.append((due - clock()).total_seconds())
        clock.reach(due)

    assert await soc.round() == 1

    assert waits == [5.625, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3150, 3150, 3150, 3150]
    assert len({message.id for message in receiver.asked}) == 1
    sent = only_notification(database)
    assert (sent["state"], sent["attempts"], sent["last_error"]) == ("sent", 15, None)


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [(0.0, [5, 7.5, 15, 30, 2700, 2700]), (1.0, [6.25, 12.5, 25, 50, 3600, 3600])],
)
async def test_delays_have_jitter(
    database: DatabaseExecutor, clock: Clock, jitter: float, waits: list[float]
) -> None:
    """Retry delays have jitter, and lie between 5 s and an hour."""
    put(database.database, sign_in(1))
    receiver = Receiver(*[DeliveryError("no")] * 20)
    soc = notifier(receiver, database, clock, jitter=jitter)
    seen = []
    for _ in range(14):
        await soc.round()
        due = only_notification(database)["next_attempt_at"]
        seen.append((due - clock()).total_seconds())
        clock.reach(due)

    assert [*seen[:4], *seen[-2:]] == waits
    assert all(5 <= wait <= 3600 for wait in seen)


async def test_retry_after_delays_all_messages_to_the_receiver(
    database: DatabaseExecutor, clock: Clock
) -> None:
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


async def test_a_permanent_refusal_makes_a_dead_letter_at_once(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A permanent refusal makes a dead letter at once, and does not delay other messages."""
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver(DeliveryError("status 410", final=True))

    assert await notifier(receiver, database, clock).round() == 1

    states = {
        notification["state"]: notification["last_error"]
        for notification in rows(database.database, "notifications")
    }
    assert states == {"dead": "status 410", "sent": None}


async def test_a_failure_after_max_age_makes_a_dead_letter(database: DatabaseExecutor, clock: Clock) -> None:
    """The last attempt is made once max_age is reached, and its failure makes a dead letter."""
    put(database.database, sign_in(1))
    soc = notifier(
        Receiver(*[DeliveryError("status 500")] * 20), database, clock, max_age=timedelta(minutes=10)
    )
    minutes = 0
    while only_notification(database)["state"] == "pending" and minutes < 60:
        await soc.round()
        clock.advance(minutes=1)
        minutes += 1

    assert only_notification(database)["state"] == "dead"
    assert 10 < minutes <= 16  # the receiver's current pause is added


async def test_a_message_that_was_never_tried_is_sent_however_old(
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


async def test_a_retried_dead_letter_has_the_full_max_age_again(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A retried dead letter has the full max_age again, however old it is."""
    put(database.database, sign_in(1))
    receiver = Receiver(DeliveryError("status 410", final=True), *[DeliveryError("status 500")] * 20)
    soc = notifier(receiver, database, clock, max_age=timedelta(minutes=30))
    await soc.round()
    clock.advance(days=10)
    retry(database.database, [only_notification(database)["id"]], now=clock())
    minutes = 0
    while only_notification(database)["state"] == "pending" and minutes < 90:
        await soc.round()
        clock.advance(minutes=1)
        minutes += 1

    assert only_notification(database)["state"] == "dead"
    assert 30 < minutes <= 36


async def test_a_failing_receiver_gets_one_message_at_a_time(
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


async def test_a_failed_request_delays_only_its_own_message(database: DatabaseExecutor, clock: Clock) -> None:
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


async def test_a_message_that_keeps_failing_does_not_delay_a_new_alert(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A message that keeps failing does not delay a new alert."""
    put(database.database, sign_in(0))
    receiver = Receiver(*[DeliveryError("status 500")] * 5)
    soc = notifier(receiver, database, clock)
    while receiver.script:
        clock.advance(minutes=2)
        await soc.round()
    put(database.database, sign_in(1, at=clock()), now=clock())

    assert await soc.round() == 1


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


async def test_messages_enqueued_or_claimed_while_the_clock_was_ahead_are_sent(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Notifications that were enqueued or claimed while the clock was ahead are sent."""
    put(database.database, sign_in(1), now=clock() + timedelta(days=1))
    await database.run(claim, "soc", now=clock() + timedelta(days=1), lease=LEASE)
    put(database.database, sign_in(2), now=clock() + timedelta(minutes=10))
    receiver = Receiver()

    assert await notifier(receiver, database, clock).round() == 2
    assert {notification["created_at"] for notification in rows(database.database, "notifications")} == {
        clock()
    }


async def test_starts_and_clock_jumps_shorten_no_regular_delay(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """Neither a start nor a clock jump shortens a regular delay or claim."""
    put(database.database, sign_in(1), sign_in(2))
    receiver = Receiver(DeliveryError("status 429", retry_after=timedelta(minutes=50)))
    await notifier(receiver, database, clock).round()
    await database.run(claim, "soc", now=clock(), lease=LEASE)
    before = rows(database.database, "notifications")

    assert await notifier(receiver, database, clock).round() == 0
    assert rows(database.database, "notifications") == before


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(hours=2)])
async def test_clock_jumps_do_not_change_a_pause(
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
