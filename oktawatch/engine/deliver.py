"""Delivery: what is due in the outbox goes to its notifier.

A row is claimed by nobody: it is sent outside any transaction and marked after the receiver took it.
When the process dies in between, it is sent again under the same id. A notifier that fails delays
no other.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.notification import DueNotification
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.store.outbox import due, mark_failed, mark_sent

_log: Any = structlog.get_logger(__name__)

_BATCH = 100
_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(hours=1)


class Notifier:
    """One channel with its share of the outbox. One round at a time."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        database: DatabaseExecutor,
        *,
        max_age: timedelta,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``max_age``: what could not be delivered for so long becomes a dead letter."""
        self.name = name
        self._channel = channel
        self._database = database
        self._max_age = max_age
        self._now = now
        self._jitter = jitter

    async def round(self) -> int:
        """Send what is due; give how many were taken. Raises StoreError."""
        taken = 0
        while batch := await self._database.run(due, self.name, now=self._now(), limit=_BATCH):
            for notification in batch:
                taken += await self._send(notification)
        return taken

    async def _send(self, notification: DueNotification) -> bool:
        try:
            await self._channel.send(notification)
        except DeliveryError as error:
            await self._failed(notification, error)
            return False
        await self._database.run(mark_sent, notification.id, now=self._now())
        return True

    async def _failed(self, notification: DueNotification, error: DeliveryError) -> None:
        again = self._now() + self._delay(notification.attempts)
        dead = again > notification.created_at + self._max_age
        _log.warning(
            "delivery_failed", notifier=self.name, notification=notification.id, error=str(error), dead=dead
        )
        await self._database.run(
            mark_failed, notification.id, error=str(error), next_attempt_at=None if dead else again
        )

    def _delay(self, attempts: int) -> timedelta:
        """Doubling from 5 s to an hour, spread over half of it so that retries don't march in step."""
        delay: timedelta = min(_FIRST_DELAY * (1 << min(attempts, 16)), _LONGEST_DELAY)
        return delay * (0.75 + self._jitter() / 2)
