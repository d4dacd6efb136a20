"""Deliver the notifications of each notifier, in rounds or once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Protocol

from msgspec import Struct

from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import DeliveryResult, Notifier
from oktawatch.engine.orphaned_notifications import OrphanedNotifications
from oktawatch.service.app import Application
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

INTERVAL = timedelta(seconds=5)
"""Time between two rounds, for retries. A job that enqueues notifications starts a round at once."""
TIME_LIMIT = timedelta(minutes=5)
"""Time limit of a round. A message that is not confirmed by then is sent again under the same id."""


class Sender(Protocol):
    """Sends in rounds: `engine.deliver.Notifier` or `OrphanedNotifications`."""

    name: str
    failed: int
    """The number of failed attempts; for `OrphanedNotifications`, of expired notifications."""

    async def round(self) -> int:
        """Send the due notifications; return how many were delivered. Raises StoreError."""


@asynccontextmanager
async def open_notifiers(
    app: Application,
    database: DatabaseExecutor,
    *,
    attempted: Callable[[str, DeliveryResult], None] = lambda _notifier, _result: None,
) -> AsyncIterator[list[Notifier]]:
    """Build the notifiers. Their channels are closed at the end.

    ``attempted`` is called with the notifier's name and the result of each attempt to deliver.
    """
    composer = app.composer(app.rules)
    async with AsyncExitStack() as stack:
        for name, channel in app.channels.items():
            stack.push_async_callback(channel_calls.close, channel, notifier=name)
        yield [
            Notifier(
                notifier.name,
                notifier.channel,
                composer,
                database,
                max_age=notifier.max_age,
                per_minute=notifier.per_minute,
                escalation=notifier.escalation,
                attempted=partial(attempted, notifier.name),
            )
            for notifier in app.notifiers
        ]


def orphaned_notifications(app: Application, database: DatabaseExecutor) -> OrphanedNotifications:
    """Build the job that expires notifications for removed or renamed notifiers."""
    return OrphanedNotifications([notifier.name for notifier in app.notifiers], database)


class DeliveryRound(Struct, frozen=True, kw_only=True):
    """The result of one round of all notifiers."""

    delivered: int
    """The number of delivered messages."""
    failed: int
    """The number of failed attempts and rounds."""


class Delivery(Supervised[int]):
    """The delivery of one notifier."""

    def __init__(self, sender: Sender, *, database_trouble: DatabaseTrouble | None) -> None:
        super().__init__(
            FailureLog("delivery_round", notifier=sender.name),
            database_trouble=database_trouble,
            interval=INTERVAL,
            time_limit=TIME_LIMIT,
        )
        self._sender = sender
        self.delivered = 0
        """The number of delivered messages."""

    async def round(self) -> timedelta | None:
        """Send the due notifications. Return the delay until the next round, or None for the usual interval."""
        return await self.attempt(self._sender.round)

    def succeeded(self, delivered: int) -> timedelta | None:
        """Count the delivered messages."""
        self.delivered += delivered
        if delivered:
            # Without a delivery, the outbox may only have been read, which doesn't show that it can be written.
            self.database_works()
        return None


async def deliver_once(senders: Sequence[Sender]) -> DeliveryRound:
    """Send the due notifications of all notifiers concurrently.

    A failure is logged, and the message stays in the outbox: for the next run, or as a dead letter.
    """
    deliveries = [Delivery(sender, database_trouble=None) for sender in senders]
    await asyncio.gather(*(delivery.round() for delivery in deliveries))
    return DeliveryRound(
        delivered=sum(delivery.delivered for delivery in deliveries),
        failed=sum(delivery.failures for delivery in deliveries) + sum(sender.failed for sender in senders),
    )
