"""Delivery: what is due in the outbox goes to its notifier.

One message at a time is claimed, sent outside any transaction and marked after the receiver took it.
When the process dies in between, its lease ends and it is sent again under the same id.

A receiver in trouble gets one message after ever longer pauses, not the whole outbox: what waits is
neither counted as tried nor given up for it. A message that alone makes its receiver fail stands back
behind the others. A notifier that fails delays no other.
"""

import math
import random
import time
from asyncio import timeout
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.notification import DueNotification
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.composer import Composer
from oktawatch.store.digests import fold
from oktawatch.store.notifiers import Neighbours
from oktawatch.store.outbox import anything_due, claim, mark_failed, mark_sent
from oktawatch.store.outbox_times import repair_times

_log: Any = structlog.get_logger(__name__)

SEND_WITHIN = timedelta(seconds=30)
"""What a receiver has not confirmed by then has failed, whatever its channel waits for."""
LEASE = timedelta(minutes=2)
"""How long nobody else sends what one process is sending; longer than sending and marking can take."""
ROUND = timedelta(minutes=1)
"""After it a round ends with the message it is at."""
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(minutes=5)
_NOBODY = Neighbours()
_CLOCK_TOLERANCE = timedelta(seconds=2)
_FEWEST_ATTEMPTS = 6
"""Before a message is given up for its age: one that waited in a daemon that was down is tried, too."""


class Notifier:
    """One channel with its share of the outbox. One round at a time."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        composer: Composer,
        database: DatabaseExecutor,
        *,
        max_age: timedelta,
        per_minute: int | None = None,
        neighbours: Neighbours = _NOBODY,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``max_age``: what could not be delivered for so long becomes a dead letter.

        ``per_minute``: how many messages it takes; what is above goes into digests. None: as many as come.
        ``neighbours``: who is told when it can't deliver.
        """
        self.name = name
        self._channel = channel
        self._composer = composer
        self._database = database
        self._max_age = max_age
        self._per_minute = per_minute
        self._neighbours = neighbours
        self._now = now or database.now
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._paused_until = 0.0  # by the monotonic clock
        self._latest: datetime | None = None

    async def round(self) -> int:
        """Send what is due. Return how many messages were taken. Raises StoreError."""
        begun = self._clock()
        await self._repair_times()
        if self._paused or not await self._anything_due():
            return 0
        taken = 0
        if self._failures:
            # Folded once the receiver is back: each try would make a digest of its own otherwise.
            if not await self._send_next():
                return 0
            taken = 1
        allowance = await self._allowance()
        while allowance > 0 and self._goes_on(begun):
            sent = await self._send_next() if await self._anything_due() else None
            if sent is None:
                break
            taken += sent
            allowance -= 1
        return taken

    async def _repair_times(self) -> None:
        """After a start, or when the clock was set back, end waits that a wrong clock has made too long."""
        now, latest = self._now(), self._latest
        self._latest = now
        if latest is not None and now > latest - _CLOCK_TOLERANCE:
            return
        repaired = await self._database.run(
            repair_times, self.name, now=now, longest_wait=LONGEST_DELAY, lease=LEASE
        )
        if repaired:
            _log.warning("delivery_times_repaired", notifier=self.name, notifications=repaired)

    def _goes_on(self, begun: float) -> bool:
        return not self._paused and self._clock() - begun < ROUND.total_seconds()

    async def _anything_due(self) -> bool:
        return await self._database.run(anything_due, self.name, now=self._now())

    async def _allowance(self) -> float:
        if self._per_minute is None:
            return math.inf
        return await self._database.run(fold, self.name, now=self._now(), per_minute=self._per_minute)

    async def _send_next(self) -> bool | None:
        """Send what is due the longest; tell whether it was taken. None: there is nothing, or others have it."""
        claimed = await self._database.run(claim, self.name, now=self._now(), lease=LEASE)
        return None if claimed is None else await self._send(claimed)

    async def close(self) -> None:
        """Let go of what the channel holds."""
        await self._channel.close()

    @property
    def _paused(self) -> bool:
        return self._clock() < self._paused_until

    async def _send(self, notification: DueNotification) -> bool:
        try:
            async with timeout(SEND_WITHIN.total_seconds()):
                await self._channel.send(self._composer.compose(notification))
        except DeliveryError as error:
            await self._failed(notification, error)
            return False
        except TimeoutError:
            await self._failed(notification, DeliveryError(f"no answer within {SEND_WITHIN.seconds} s"))
            return False
        except Exception as error:  # noqa: BLE001 -- a channel may raise anything, and its message must not wait for ever
            _log.error("channel_failed", notifier=self.name, notification=notification.id, exc_info=error)
            # Its text is not ours, so it can hold a secret.
            await self._failed(notification, DeliveryError(f"unexpected {type(error).__name__}, see the log"))
            return False
        self._failures = 0
        over = await self._database.run(
            mark_sent, notification.id, now=self._now(), neighbours=self._neighbours
        )
        if over:
            _log.info("notifier_recovered", notifier=self.name)
        return True

    async def _failed(self, notification: DueNotification, error: DeliveryError) -> None:
        again = None if error.final else self._next_attempt(notification, error)
        if not error.final:
            self._pause(error)
        _log.warning(
            "delivery_failed",
            notifier=self.name,
            notification=notification.id,
            attempt=notification.attempts + 1,
            error=str(error),
            dead=again is None,
        )
        raised = await self._database.run(
            mark_failed,
            notification.id,
            error=str(error),
            next_attempt_at=again,
            now=self._now(),
            neighbours=self._neighbours,
        )
        if raised:
            _log.error("notifier_failing", notifier=self.name, error=str(error))

    def _next_attempt(self, notification: DueNotification, error: DeliveryError) -> datetime | None:
        """Say when to try again: the last time when it reaches its greatest age. None: never."""
        now = self._now()
        delay = self._spread(FIRST_DELAY, LONGEST_DELAY, notification.attempts)
        again = now + max(delay, self._asked_for(error))
        last = (notification.retried_at or notification.created_at) + self._max_age
        if now < last:
            return min(again, last)
        return again if notification.attempts + 1 < _FEWEST_ATTEMPTS else None

    def _pause(self, error: DeliveryError) -> None:
        pause = self._spread(FIRST_DELAY, _LONGEST_PAUSE, self._failures)
        self._failures += 1
        self._paused_until = self._clock() + max(pause, self._asked_for(error)).total_seconds()

    def _asked_for(self, error: DeliveryError) -> timedelta:
        """Give how long the receiver wants to be left alone; past the greatest age that is forever."""
        return min(error.retry_after or timedelta(), self._max_age)

    def _spread(self, first: timedelta, longest: timedelta, failures: int) -> timedelta:
        """Double the delay with each failure; spread it, within both limits, so that retries don't march in step."""
        delay: timedelta = min(first * (1 << min(failures, 16)), longest)
        least, most = max(delay * 0.75, first), min(delay * 1.25, longest)
        return least + (most - least) * self._jitter()
