"""Deliver an outbox's notifications in tests of the engine."""

from datetime import timedelta
from typing import Any

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.notify.channel import Channel
from tests.support.databases import rows
from tests.support.outbox import COMPOSER, Clock, Receiver


def notifier(
    channel: Channel,
    database: DatabaseExecutor,
    clock: Clock,
    *,
    name: str = "soc",
    max_age: timedelta = timedelta(days=1),
    per_minute: int | None = None,
    jitter: float = 0.5,
) -> Notifier:
    """Create a notifier, by default without a limit of messages per minute.

    ``jitter`` replaces the random number, from 0 to 1, that spreads the delays.
    """
    return Notifier(
        name,
        channel,
        COMPOSER,
        database,
        max_age=max_age,
        per_minute=per_minute,
        now=clock,
        clock=clock.monotonic,
        jitter=lambda: jitter,
    )


def digests(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the content of the digests that arrived."""
    return [message.body["digest"] for message in receiver.taken if message.type == "digest"]


def only_notification(database: DatabaseExecutor) -> dict[str, Any]:
    """Return the only notification in the outbox."""
    (only,) = rows(database.database, "notifications")
    return only
