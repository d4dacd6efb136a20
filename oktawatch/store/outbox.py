"""The outbox: notifications that were committed with their page and wait to be sent.

A row is sent *outside* any transaction and marked afterwards: when the process dies in between, the
receiver gets it again under the same id. At least once, with an idempotency key.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from oktawatch.model.notification import DueNotification, NotificationState
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database

_columns = tables.notifications.c
_LONGEST_ERROR = 1_000  # characters


def due(database: Database, notifier: str, *, now: datetime, limit: int) -> list[DueNotification]:
    """Give what is due for one notifier, the oldest due first."""
    query = (
        select(
            _columns.id.label("notification_id"),
            _columns.kind,
            _columns.attempts,
            _columns.created_at.label("enqueued_at"),
            tables.alerts,
        )
        .join(tables.alerts, tables.alerts.c.id == _columns.alert_id)
        .where(
            _columns.state == NotificationState.PENDING,
            _columns.notifier == notifier,
            _columns.next_attempt_at <= now,
        )
        .order_by(_columns.next_attempt_at, _columns.created_at)
        .limit(limit)
    )
    with database.read() as connection:
        return [_due(notifier, row) for row in connection.execute(query).mappings()]


def mark_sent(database: Database, notification_id: str, *, now: datetime) -> None:
    """Remember that a receiver took it."""
    _mark(
        database,
        notification_id,
        state=NotificationState.SENT,
        sent_at=now,
        attempts=_columns.attempts + 1,
        next_attempt_at=None,
        last_error=None,
    )


def mark_failed(
    database: Database, notification_id: str, *, error: str, next_attempt_at: datetime | None
) -> None:
    """Remember a failed attempt and when to try again; None makes it a dead letter."""
    _mark(
        database,
        notification_id,
        state=NotificationState.DEAD if next_attempt_at is None else NotificationState.PENDING,
        attempts=_columns.attempts + 1,
        next_attempt_at=next_attempt_at,
        last_error=error[:_LONGEST_ERROR],
    )


def _mark(database: Database, notification_id: str, **values: Any) -> None:
    statement = (
        update(tables.notifications)
        .where(_columns.id == notification_id, _columns.state == NotificationState.PENDING)
        .values(values)
    )
    with database.write() as connection:
        connection.execute(statement)


def _due(notifier: str, row: Mapping[Any, Any]) -> DueNotification:
    return DueNotification(
        id=row["notification_id"],
        notifier=notifier,
        kind=row["kind"],
        attempts=row["attempts"],
        created_at=row["enqueued_at"],
        alert=as_json({column.name: row[column.name] for column in tables.alerts.columns}),
    )
