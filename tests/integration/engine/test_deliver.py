"""Deliveries happen at least once, and neither messages nor notifiers hold up others."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import LEASE
from oktawatch.engine.orphaned_notifications import OrphanedNotifications
from oktawatch.model.notification import DueNotification
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.composer import Composer
from oktawatch.notify.message import Message
from tests.support.databases import rows
from tests.support.delivery import notifier, only_notification
from tests.support.outbox import Clock, Hanging, Receiver, put, sign_in


async def test_everything_due_is_sent(database: DatabaseExecutor, clock: Clock) -> None:
    """One round empties the outbox, in order, and a second one finds nothing."""
    put(database.database, *(sign_in(number) for number in range(5)))
    receiver = Receiver()
    soc = notifier(receiver, database, clock)

    assert [await soc.round(), await soc.round()] == [5, 0]

    assert [message.body["alert"]["actor_id"] for message in receiver.taken] == [f"00u{n}" for n in range(5)]
    assert {notification["state"] for notification in rows(database.database, "notifications")} == {"sent"}


async def test_a_notification_for_a_removed_notifier_becomes_a_dead_letter(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A notification for a removed notifier becomes a dead letter after a day, and is logged once."""
    put(database.database, sign_in(1), notifiers=("gone",))
    orphaned = OrphanedNotifications(["soc"], database, now=clock)
    with capture_logs() as logs:
        for _ in range(30):
            assert await orphaned.round() == 0
            clock.advance(hours=1)

    assert only_notification(database)["state"] == "dead"
    assert [(line["event"], line["notifier"], line["count"]) for line in logs] == [
        ("notifications_given_up", "gone", 1)
    ]


async def test_a_message_that_its_receiver_cannot_process_delays_no_other(
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


async def test_an_exception_while_composing_counts_as_a_failed_attempt(
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
async def test_an_unexpected_exception_of_a_channel_counts_as_a_failed_attempt(
    database: DatabaseExecutor, clock: Clock, kind: type[BaseException]
) -> None:
    """An unexpected exception of a channel counts as a failed attempt, and its text is not stored."""
    put(database.database, sign_in(1))
    with capture_logs() as logs:
        await notifier(Receiver(kind("https://user:hunter2@example.com")), database, clock).round()

    assert [line["event"] for line in logs] == ["channel_failed", "delivery_failed"]
    assert only_notification(database)["last_error"] == f"unexpected {kind.__name__}, see the log"


async def test_a_timeout_of_the_channel_itself_does_not_name_our_time_limit(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """If a channel gives up before our time limit, the error doesn't claim that we waited that long."""
    put(database.database, sign_in(1))
    await notifier(Receiver(TimeoutError("https://user:hunter2@example.com")), database, clock).round()

    assert only_notification(database)["last_error"] == "no answer in time"


async def test_a_channel_that_hangs_is_cancelled(
    database: DatabaseExecutor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel that hangs is cancelled, which counts as a failed attempt."""
    monkeypatch.setattr(channel_calls, "SEND_WITHIN", timedelta())
    put(database.database, sign_in(1))

    assert await notifier(Hanging(), database, clock).round() == 0

    failed = only_notification(database)
    assert (failed["state"], failed["attempts"]) == ("pending", 1)
    assert failed["last_error"] == "no answer within 0 s"


async def test_an_interrupted_message_is_sent_again_once_its_claim_has_expired(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """An interrupted message is not marked, and is sent with the same id once its claim has expired."""
    put(database.database, sign_in(1))
    hanging = Hanging()
    stopped = asyncio.create_task(notifier(hanging, database, clock).round())
    await hanging.begun.wait()
    stopped.cancel()
    await asyncio.wait([stopped])
    assert stopped.cancelled()
    assert only_notification(database)["state"] == "pending"
    receiver = Receiver()
    soc = notifier(receiver, database, clock)

    assert await soc.round() == 0
    clock.advance(seconds=LEASE.total_seconds())

    assert await soc.round() == 1
    assert [message.id for message in receiver.taken] == [only_notification(database)["id"]]


async def test_a_failing_notifier_does_not_delay_the_others(database: DatabaseExecutor, clock: Clock) -> None:
    """A failing notifier does not delay the others."""
    put(database.database, sign_in(1), sign_in(2), notifiers=("soc", "pager"))
    broken = notifier(Receiver(*[DeliveryError("status 500")] * 2), database, clock)
    good = notifier(Receiver(), database, clock, name="pager")

    assert [await broken.round(), await good.round()] == [0, 2]


async def test_a_round_that_takes_too_long_ends_after_the_current_message(
    database: DatabaseExecutor, clock: Clock
) -> None:
    """A round that takes too long ends after the current message."""
    put(database.database, *(sign_in(number) for number in range(10)))

    class Slow(Receiver):
        async def send(self, message: Message) -> None:
            clock.advance(seconds=25)
            await super().send(message)

    assert await notifier(Slow(), database, clock).round() == 3
