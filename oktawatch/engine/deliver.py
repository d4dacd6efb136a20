"""Deliver the due notifications of one notifier.

Messages are claimed one at a time, sent outside any transaction, and marked as sent once the receiver has accepted
them. If the process dies after the claim, the claim expires and the message is sent again under the same id.

Each failed message has its own back-off and does not delay the others, so a receiver that fails now and then still gets
the other messages at once. The notifier pauses after several failures in a row, or when the receiver asks for a pause.
A single message is then sent after each pause, and the pauses increase, so that an outage costs the waiting messages
few attempts. A failing notifier does not delay other notifiers.
"""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog

from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.notification import DueNotification
from oktawatch.model.outbox import DeliveryPlan
from oktawatch.notify.channel import Channel, DeliveryError
from oktawatch.notify.composer import Composer
from oktawatch.notify.escalation import Escalation
from oktawatch.notify.folding import CAMPAIGN_MEMORY, CAMPAIGN_TIME, MINUTE, plan_delivery
from oktawatch.notify.message import Message
from oktawatch.store.database import Database
from oktawatch.store.digests import outbox_transaction
from oktawatch.store.notifiers import notifier_transaction
from oktawatch.store.outbox import anything_due, claim
from oktawatch.store.outbox_times import repair_times

_log: Any = structlog.get_logger(__name__)

LEASE = timedelta(minutes=2)
"""Duration of a claim; longer than sending and marking can take."""
ROUND = timedelta(minutes=1)
"""A round that takes longer ends after the current message."""
PLAN = timedelta(seconds=10)
"""Maximum age of a plan, so that an urgent alert does not wait behind other messages to a slow receiver."""
FIRST_DELAY = timedelta(seconds=5)
"""The delay after a message's first failure, and the notifier's first pause. Each further one is twice as long."""
LONGEST_DELAY = timedelta(hours=1)
TROUBLE = 3
"""If this many different messages fail in a row, the receiver is the problem and not a message."""
_LONGEST_PAUSE = timedelta(minutes=5)
_NO_ESCALATION = Escalation()
DeliveryResult = Literal["delivered", "failed", "dead"]
"""The result of an attempt: ``failed`` will be retried, ``dead`` became a dead letter."""
_CLOCK_TOLERANCE = timedelta(seconds=2)
"""If the clock goes back by less, no times are repaired."""
_FEWEST_ATTEMPTS = 6
"""A message expires only after this number of attempts, so that it is still sent if it waited while the daemon was down."""


class Notifier:
    """Delivers the notifications of one notifier through its channel. Run one round at a time."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        composer: Composer,
        database: DatabaseExecutor,
        *,
        max_age: timedelta,
        per_minute: int | None = None,
        escalation: Escalation = _NO_ESCALATION,
        attempted: Callable[[DeliveryResult], None] = lambda _result: None,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Deliver the notifications of the notifier ``name`` through ``channel``.

        A message becomes a dead letter if the receiver refuses it finally, or if its attempts still fail after
        ``max_age``. Messages above ``per_minute`` are folded into digests. None disables this limit. ``escalation``
        decides which notifiers get an alarm if this one can't deliver. ``attempted`` is called with the result of each
        attempt.
        """
        self.name = name
        self.failed = 0
        """The number of failed attempts."""
        self._channel = channel
        self._composer = composer
        self._database = database
        self._max_age = max_age
        self._per_minute = per_minute
        self._escalation = escalation
        self._attempted = attempted
        self._now = now or database.now
        self._clock = clock
        self._jitter = jitter
        self._failing: set[str] = set()
        """Ids of messages that failed since the last delivery."""
        self._pauses = 0
        """The number of pauses since the last delivery."""
        self._paused_until: float | None = None
        """By the monotonic clock. Set from a pause until the next delivery."""
        self._last_round_at: datetime | None = None

    async def round(self) -> int:
        """Send the due notifications, unless there is a pause; return how many were delivered. Raises StoreError."""
        began_s = self._clock()
        await self._repair_times()
        if self._paused or not await self._anything_due():
            return 0
        delivered = 0
        if self._paused_until is not None:
            # Don't plan until the receiver is back. Otherwise each attempt would create another digest.
            if not await self._send_next():
                return 0
            delivered = 1
        while self._may_continue(began_s):
            planned_at = self._clock()
            unsent = (await self._plan()).send
            while (
                unsent and self._may_continue(began_s) and self._clock() - planned_at < PLAN.total_seconds()
            ):
                delivered += await self._send_next(unsent.pop(0))
            if not unsent:
                break
        return delivered

    async def _repair_times(self) -> None:
        """Repair times that a wrong clock has set, at the start and after the clock was set back."""
        now, last_round_at = self._now(), self._last_round_at
        self._last_round_at = now
        if last_round_at is not None and now > last_round_at - _CLOCK_TOLERANCE:
            return
        repaired = await self._database.run(
            repair_times, self.name, now=now, longest_wait=LONGEST_DELAY, lease=LEASE
        )
        if repaired:
            _log.warning("delivery_times_repaired", notifier=self.name, notifications=repaired)

    def _may_continue(self, began_s: float) -> bool:
        return not self._paused and self._clock() - began_s < ROUND.total_seconds()

    async def _anything_due(self) -> bool:
        return await self._database.run(anything_due, self.name, now=self._now())

    async def _plan(self) -> DeliveryPlan:
        return await self._database.run(
            plan_messages, self.name, now=self._now(), per_minute=self._per_minute
        )

    async def _send_next(self, notification_id: str | None = None) -> bool:
        """Send a notification, by default the one due longest; return whether it was delivered.

        Nothing is sent if another process has claimed it, or a more severe notification has replaced it.
        """
        claimed = await self._database.run(
            claim, self.name, now=self._now(), lease=LEASE, notification_id=notification_id
        )
        return claimed is not None and await self._send(claimed)

    @property
    def _paused(self) -> bool:
        return self._paused_until is not None and self._clock() < self._paused_until

    async def _send(self, notification: DueNotification) -> bool:
        try:
            await channel_calls.send(self._channel, self._compose(notification), notifier=self.name)
        except DeliveryError as error:
            await self._record_failure(notification, error)
            return False
        self._attempted("delivered")
        self._failing.clear()
        self._pauses, self._paused_until = 0, None
        recovered = await self._database.run(
            record_success, self.name, notification.id, self._escalation, now=self._now()
        )
        if recovered:
            _log.info("notifier_recovered", notifier=self.name)
        return True

    def _compose(self, notification: DueNotification) -> Message:
        """Compose a message. Raises DeliveryError, because a message that can't be composed must not wait forever."""
        try:
            return self._composer.compose(notification)
        except Exception as error:  # noqa: BLE001 -- no message may stop the deliveries
            _log.error("message_failed", notifier=self.name, notification=notification.id, exc_info=error)
            raise DeliveryError(f"unexpected {type(error).__name__}, see the log") from None

    async def _record_failure(self, notification: DueNotification, error: DeliveryError) -> None:
        now = self._now()
        next_attempt_at = None if error.final else self._next_attempt(notification, error)
        self.failed += 1
        self._attempted("failed" if next_attempt_at is not None else "dead")
        if not error.final:
            self._back_off(notification.id, error)
        _log.warning(
            "delivery_failed",
            notifier=self.name,
            notification=notification.id,
            attempt=notification.attempts + 1,
            error=str(error),
            dead=next_attempt_at is None,
        )
        raised = await self._database.run(
            record_failure,
            self.name,
            notification.id,
            self._escalation,
            error=str(error),
            next_attempt_at=next_attempt_at,
            now=now,
        )
        if raised:
            _log.error("notifier_failing", notifier=self.name, error=str(error))

    def _next_attempt(self, notification: DueNotification, error: DeliveryError) -> datetime | None:
        """Return the time of the next attempt, or None if there is none.

        The message is retried at the latest when it reaches the maximum age. After that, it is retried only until it has
        had ``_FEWEST_ATTEMPTS`` attempts.
        """
        now = self._now()
        delay = self._backoff(FIRST_DELAY, LONGEST_DELAY, notification.attempts)
        next_attempt_at = now + max(delay, self._requested_delay(error))
        expires_at = (notification.retried_at or notification.created_at) + self._max_age
        if now < expires_at:
            return min(next_attempt_at, expires_at)
        return next_attempt_at if notification.attempts + 1 < _FEWEST_ATTEMPTS else None

    def _back_off(self, notification_id: str, error: DeliveryError) -> None:
        """Pause if several messages failed in a row, the receiver asks for a pause, or the attempt after a pause failed."""
        self._failing.add(notification_id)
        if self._paused_until is None and len(self._failing) < TROUBLE and error.retry_after is None:
            return
        pause = self._backoff(FIRST_DELAY, _LONGEST_PAUSE, self._pauses)
        self._pauses += 1
        self._paused_until = self._clock() + max(pause, self._requested_delay(error)).total_seconds()

    def _requested_delay(self, error: DeliveryError) -> timedelta:
        """Return the delay that the receiver asks for, at most the maximum age of a message. Zero if it asks for none."""
        return min(error.retry_after or timedelta(), self._max_age)

    def _backoff(self, first: timedelta, longest: timedelta, failures: int) -> timedelta:
        """Return a delay that doubles with each failure, with jitter."""
        delay: timedelta = min(first * (1 << min(failures, 16)), longest)
        least, most = max(delay * 0.75, first), min(delay * 1.25, longest)
        return least + (most - least) * self._jitter()


def plan_messages(
    database: Database, notifier: str, *, now: datetime, per_minute: int | None
) -> DeliveryPlan:
    """Plan a notifier's next messages, and create their digests, in one transaction."""
    with outbox_transaction(database, notifier, now=now) as outbox:
        state = outbox.state(sent_within=MINUTE, digests_within=CAMPAIGN_MEMORY, opened_within=CAMPAIGN_TIME)
        plan = plan_delivery(state, now=now, per_minute=per_minute)
        outbox.apply(plan)
    return plan


def record_success(
    database: Database, notifier: str, notification_id: str, escalation: Escalation, *, now: datetime
) -> bool:
    """Mark a notification as sent. Return whether this ended an alarm about the notifier."""
    with notifier_transaction(database, notifier, now=now) as transaction:
        if not transaction.mark_sent(notification_id):
            return False
        health = transaction.failing_health()
        return health is not None and transaction.change_health(escalation.on_success(health, now=now))


def record_failure(
    database: Database,
    notifier: str,
    notification_id: str,
    escalation: Escalation,
    *,
    error: str,
    next_attempt_at: datetime | None,
    now: datetime,
) -> bool:
    """Record a failed attempt. Return whether this raised an alarm about the notifier."""
    with notifier_transaction(database, notifier, now=now) as transaction:
        if not transaction.mark_failed(notification_id, error=error, next_attempt_at=next_attempt_at):
            return False
        lost = next_attempt_at is None
        change = escalation.on_failure(transaction.health(), error=error, lost=lost, now=now)
        return transaction.change_health(change)
