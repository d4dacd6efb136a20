"""List, retry and drop notifications in the outbox.

A daemon may be sending the notification at the same time. If the receiver accepts the notification, it is
marked as sent, even if a person retried or dropped it in the meantime. A retried notification that is claimed is not sent
again before the claim ends.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, exists, func, or_, select, update

from oktawatch.model.notification import NotificationState
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

_columns = tables.notifications.c
_alerts = tables.alerts.c
_with_alert = tables.notifications.outerjoin(tables.alerts, _alerts.id == _columns.alert_id)
_NOT_CONFIGURED = "no notifier of this name is configured: configure it and retry, or drop the notification"
UNDONE = (NotificationState.PENDING, NotificationState.DEAD)
"""States that need further action by oktawatch or by a person."""


class NotificationStateError(StoreError):
    """An unknown notification, or one whose state does not allow the operation. Nothing was changed."""


class NotificationFilter(Struct, frozen=True, kw_only=True):
    """A filter for notifications. None matches any value, except in ``state``."""

    state: NotificationState | None = None
    """None: pending or dead."""
    notifier: str | None = None
    org: str | None = None
    """The org of the notification's alert, or of one of its digest's alerts."""


def list_notifications(database: Database, wanted: NotificationFilter, *, limit: int) -> list[dict[str, Any]]:
    """Return notifications as JSON objects with their alert's org: dead ones first, otherwise the latest first."""
    first = case((_columns.state == NotificationState.DEAD, 0), else_=1)
    query = (
        select(*_columns, _alerts.org)
        .select_from(_with_alert)
        .where(*_conditions(wanted))
        .order_by(first, _columns.created_at.desc(), _columns.alert_id.desc(), _columns.id)
        .limit(limit)
    )
    with database.read() as connection:
        return [as_json(row) for row in connection.execute(query).mappings()]


def count_notifications(database: Database, wanted: NotificationFilter) -> int:
    """Count the notifications that pass a filter."""
    query = select(func.count()).select_from(_with_alert).where(*_conditions(wanted))
    with database.read() as connection:
        return connection.execute(query).scalar_one()


def show_notifications(database: Database, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the notifications with these ids as JSON objects."""
    query = select(*_columns, _alerts.org).select_from(_with_alert).where(_columns.id.in_(ids))
    with database.read() as connection:
        found = {row["id"]: as_json(row) for row in connection.execute(query).mappings()}
    return [found[notification_id] for notification_id in dict.fromkeys(ids) if notification_id in found]


def retry(database: Database, ids: Sequence[str], *, now: datetime) -> None:
    """Make pending and dead notifications due now, and restart their age. A claimed one is due when its claim ends.

    Raises NotificationStateError for an unknown id or a notification in any other state.
    """

    def retried(notification: RowMapping) -> dict[str, Any]:
        _require_undone(notification, "sent again")
        values: dict[str, Any] = {"state": NotificationState.PENDING, "retried_at": now}
        if notification["state"] == NotificationState.DEAD:
            # Restart the back-off. Keep one attempt, so that the notification is not folded into a digest.
            values["attempts"] = min(notification["attempts"], 1)
        if notification["claimed_until"] is None or notification["claimed_until"] <= now:
            values |= {"next_attempt_at": now, "claimed_until": None}
        else:
            values["next_attempt_at"] = notification["claimed_until"]
        return values

    _decide(database, ids, retried)


def drop(database: Database, ids: Sequence[str]) -> None:
    """Drop pending and dead notifications.

    Raises NotificationStateError for an unknown id or a notification in any other state.
    """

    def dropped(notification: RowMapping) -> dict[str, Any]:
        _require_undone(notification, "dropped")
        return {"state": NotificationState.DROPPED, "next_attempt_at": None}

    _decide(database, ids, dropped)


def abandon(database: Database, notifiers: Sequence[str], *, before: datetime) -> dict[str, int]:
    """Mark pending notifications as dead if their notifier is not in ``notifiers``. Return how many, by notifier.

    Notifications that were created or retried after ``before`` stay pending.
    """
    unknown = (
        _columns.state == NotificationState.PENDING,
        _columns.notifier.not_in(notifiers),
        func.coalesce(_columns.retried_at, _columns.created_at) <= before,
    )
    with database.read() as connection:
        names = connection.execute(select(_columns.notifier).where(*unknown).distinct()).scalars().all()
    if not names:
        return {}  # the usual case, which needs no write lock
    given_up = (
        update(tables.notifications)
        .where(*unknown)
        .values(state=NotificationState.DEAD, next_attempt_at=None, last_error=_NOT_CONFIGURED)
        .returning(_columns.notifier)
    )
    with database.write() as connection:
        _lock(database, connection, names)
        return dict(Counter(connection.execute(given_up).scalars()))


def _decide(database: Database, ids: Sequence[str], decision: Callable[[RowMapping], dict[str, Any]]) -> None:
    wanted = sorted(set(ids))
    chosen = _columns.id.in_(wanted)
    with database.read() as connection:
        notifiers = connection.execute(select(_columns.notifier).where(chosen).distinct()).scalars().all()
    with database.write() as connection:
        _lock(database, connection, notifiers)
        query = select(_columns.id, _columns.state, _columns.attempts, _columns.claimed_until).where(chosen)
        locked = connection.execute(query.order_by(_columns.id).with_for_update()).mappings()
        found = {notification["id"]: notification for notification in locked}
        for notification_id in wanted:
            if notification_id not in found:
                raise NotificationStateError(
                    f"no such notification ({notification_id}): see 'oktawatch notifications list'"
                )
            values = decision(found[notification_id])
            connection.execute(
                update(tables.notifications).where(_columns.id == notification_id).values(values)
            )


def _lock(database: Database, connection: Connection, notifiers: Sequence[str]) -> None:
    """Lock the notifiers' outboxes, to prevent a deadlock with folding, which updates many rows in any order."""
    for notifier in sorted(notifiers):
        database.lock(connection, f"outbox of {notifier}")


def _require_undone(notification: RowMapping, operation: str) -> None:
    if notification["state"] not in UNDONE:
        raise NotificationStateError(
            f"the notification is {notification['state']} ({notification['id']}): "
            f"only a pending or dead one can be {operation}"
        )


def _conditions(wanted: NotificationFilter) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        _columns.state == wanted.state if wanted.state else _columns.state.in_(UNDONE)
    ]
    if wanted.notifier:
        conditions.append(_columns.notifier == wanted.notifier)
    if wanted.org:
        folded = tables.notifications.alias()
        alert = tables.alerts.alias()
        summarizes_org = exists().where(
            and_(
                folded.c.digest_id == _columns.id, alert.c.id == folded.c.alert_id, alert.c.org == wanted.org
            )
        )
        conditions.append(or_(_alerts.org == wanted.org, summarizes_org))
    return conditions
