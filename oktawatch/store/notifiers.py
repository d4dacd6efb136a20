"""The transaction that records an attempt to deliver, with the notifier's health and the alarms about the notifier.

An attempt, the health that follows from it (`notify.escalation`) and the alarms for the other notifiers are committed
together, so a crash can't separate them. A lock on the notifier's row lets concurrent processes decide one after
the other, so that only one of them raises an alarm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, select, update

from oktawatch.model.notification import AlarmState, NotificationState
from oktawatch.model.notifier_health import HealthChange, NotifierHealth
from oktawatch.store import tables
from oktawatch.store.alarms import Alarm, enqueue_alarms
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

_LONGEST_ERROR = 1_000  # characters
_columns = tables.notifiers.c
_notifications = tables.notifications.c
_LOCK = (
    select(_columns.failing_since, _columns.last_error, _columns.told_at)
    .where(_columns.name == bindparam("notifier"))
    .with_for_update()
)
_LOCK_FAILING = _LOCK.where(_columns.failing_since.is_not(None))
_MARK = update(tables.notifications).where(_notifications.id == bindparam("notification_id"))
_MARK_PENDING = _MARK.where(_notifications.state == NotificationState.PENDING)
_CHANGE_HEALTH = update(tables.notifiers).where(_columns.name == bindparam("notifier"))
_FAILING = select(_columns.name).where(_columns.failing_since.is_not(None))


class NotifierTransaction:
    """The reads and writes of one transaction that changes a notifier's notifications or health."""

    def __init__(self, connection: Connection, notifier: str, now: datetime) -> None:
        self._connection = connection
        self._notifier = notifier
        self._now = now
        self._health: NotifierHealth | None = None
        """The health when it was locked."""

    def mark_sent(self, notification_id: str) -> bool:
        """Mark a notification as sent, even if it was retried or dropped meanwhile. Return whether it exists."""
        values = {
            "notification_id": notification_id,
            "state": NotificationState.SENT,
            "sent_at": self._now,
            "next_attempt_at": None,
            "claimed_until": None,
            "last_error": None,
        }
        return self._connection.execute(_MARK, values).rowcount > 0

    def mark_failed(self, notification_id: str, *, error: str, next_attempt_at: datetime | None) -> bool:
        """Record a failed attempt and the time of the next one. Without a next attempt, mark a dead letter.

        Return whether the notification was pending.
        """
        values = {
            "notification_id": notification_id,
            "state": NotificationState.DEAD if next_attempt_at is None else NotificationState.PENDING,
            "next_attempt_at": next_attempt_at,
            "claimed_until": None,
            "last_error": error[:_LONGEST_ERROR],
        }
        return self._connection.execute(_MARK_PENDING, values).rowcount > 0

    def health(self) -> NotifierHealth:
        """Lock and return the notifier's health. Insert its row if it has none."""
        insert_new(self._connection, tables.notifiers, [(self._notifier,)], ("name",))
        return self._lock(_LOCK) or NotifierHealth()

    def failing_health(self) -> NotifierHealth | None:
        """Lock and return the notifier's health if it is failing, else return None without a lock."""
        return self._lock(_LOCK_FAILING)

    def _lock(self, query: Select[Any]) -> NotifierHealth | None:
        row = self._connection.execute(query, {"notifier": self._notifier}).mappings().first()
        self._health = None if row is None else NotifierHealth(**row)
        return self._health

    def change_health(self, change: HealthChange) -> bool:
        """Apply a change to the locked health. Return whether the change includes an alarm."""
        after = change.health
        if after != self._health:
            values = {"notifier": self._notifier, **msgspec.structs.asdict(after)}
            self._connection.execute(_CHANGE_HEALTH, values)
        if change.alarm is None:
            return False
        alarm = Alarm(
            subject=("notifier", self._notifier),
            notifiers=change.notifiers,
            since=change.since,
            details={"error": after.last_error} if change.alarm is AlarmState.RAISED else {},
        )
        enqueue_alarms(self._connection, change.alarm, [alarm], now=self._now)
        return True


@contextmanager
def notifier_transaction(
    database: Database, notifier: str, *, now: datetime
) -> Iterator[NotifierTransaction]:
    """Open a `NotifierTransaction`. Commits at the end, or rolls back on any error."""
    with database.write() as connection:
        yield NotifierTransaction(connection, notifier, now)


def failing_notifiers(database: Database) -> list[str]:
    """Return the names of the notifiers whose last attempt failed. This only reads, so it blocks no writer."""
    with database.read() as connection:
        return list(connection.execute(_FAILING).scalars())
