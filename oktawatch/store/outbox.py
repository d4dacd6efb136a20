"""The outbox: notifications, each committed together with its cause, such as a page, a person's decision or an alarm.

A row is *claimed* in a short transaction, sent outside any transaction, and marked afterwards
(`store/notifiers.py`). A claim counts the attempt and sets the next attempt to the end of the lease, so that no
other process takes the row meanwhile. If the process dies, the notification is sent again after the lease, under
the same id: delivery is at least once, with an idempotency key.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, select, update

from oktawatch.model.match import FAILURES
from oktawatch.model.notification import (
    OPENED_OR_RAISED,
    DueNotification,
    EventReference,
    NotificationKind,
    NotificationState,
    incident_id,
)
from oktawatch.model.severity import Severity
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database
from oktawatch.store.digests import summarize
from oktawatch.store.sighting_queries import novelty_within

_columns = tables.notifications.c
_NOT_GIVEN_UP = (NotificationState.PENDING, NotificationState.SENT, NotificationState.DIGESTED)
_DUE = (
    _columns.state == NotificationState.PENDING,
    _columns.notifier == bindparam("notifier"),
    _columns.next_attempt_at <= bindparam("now", type_=_columns.next_attempt_at.type),
)
_ANY_DUE = select(exists().where(*_DUE))
_NEXT = (
    select(tables.notifications)
    .where(*_DUE)
    .order_by(_columns.next_attempt_at, _columns.alert_id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_OF_THE_SAME_ALERT = select(_columns.severity, _columns.kind).where(
    _columns.alert_id == bindparam("alert_id"),
    _columns.notifier == bindparam("notifier"),
    _columns.kind.in_(OPENED_OR_RAISED),
    _columns.state.in_(_NOT_GIVEN_UP),
)
_CHANGE = update(tables.notifications).where(_columns.id == bindparam("notification_id"))
_CLAIM = _CHANGE.values(
    next_attempt_at=bindparam("until"), claimed_until=bindparam("until"), attempts=_columns.attempts + 1
)
_DROP = _CHANGE.values(state=NotificationState.DROPPED, next_attempt_at=None)
_ALERT = select(tables.alerts).where(tables.alerts.c.id == bindparam("alert_id"))
_FIRST_EVENT = (
    select(tables.matches.c.event_uuid, tables.matches.c.published)
    .where(tables.matches.c.alert_id == bindparam("alert_id"))
    .order_by(tables.matches.c.published, tables.matches.c.event_uuid)
    .limit(1)
)
_FAILURES_BEFORE = select(func.count()).where(
    tables.matches.c.alert_id == bindparam("alert_id"),
    tables.matches.c.outcome.in_(FAILURES),
    tables.matches.c.published < bindparam("succeeded_at", type_=tables.matches.c.published.type),
)


def anything_due(database: Database, notifier: str, *, now: datetime) -> bool:
    """Return whether a notification of the notifier is due. This only reads, so it blocks no writer."""
    with database.read() as connection:
        return bool(connection.execute(_ANY_DUE, {"notifier": notifier, "now": now}).scalar_one())


def claim(
    database: Database,
    notifier: str,
    *,
    now: datetime,
    lease: timedelta,
    notification_id: str | None = None,
) -> DueNotification | None:
    """Claim a due notification for the duration ``lease``; return None if no notification is due.

    Claims the notification with the id ``notification_id``, or by default the one that has been due the longest.
    On the way, drops due notifications about alerts for which the notifier already has a more severe notification.
    The notification about the first success of a CRITICAL alert counts as more severe than the one about its opening.
    """
    query = _NEXT if notification_id is None else _NEXT.where(_columns.id == notification_id)
    with database.write() as connection:
        while row := connection.execute(query, {"notifier": notifier, "now": now}).mappings().first():
            by_id = {"notification_id": row["id"]}
            if _is_superseded(connection, row):
                connection.execute(_DROP, by_id)
                continue
            connection.execute(_CLAIM, by_id | {"until": now + lease})
            return _due(connection, row)
    return None


def any_failed(database: Database, *, now: datetime) -> bool:
    """Return whether any pending notification has failed and waits for its next attempt.

    A claimed notification does not count: a process is sending it, and reports the result itself.
    """
    failed = exists().where(
        _columns.state == NotificationState.PENDING,
        _columns.last_error.is_not(None),
        func.coalesce(_columns.claimed_until, now) <= now,
    )
    with database.read() as connection:
        return bool(connection.execute(select(failed)).scalar_one())


def _is_superseded(connection: Connection, row: Mapping[Any, Any]) -> bool:
    if row["alert_id"] is None or row["kind"] not in OPENED_OR_RAISED:
        return False
    values = {"alert_id": row["alert_id"], "notifier": row["notifier"]}
    others = connection.execute(_OF_THE_SAME_ALERT, values).mappings()
    return any(_rank(other) > _rank(row) for other in others)


def _rank(row: Mapping[Any, Any]) -> tuple[Severity, bool]:
    """Return the rank by which messages about an alert replace each other. At the same severity, RAISED replaces OPENED."""
    return row["severity"], row["kind"] == NotificationKind.RAISED


def _due(connection: Connection, row: Mapping[Any, Any]) -> DueNotification:
    kind = NotificationKind(row["kind"])
    return DueNotification(
        id=row["id"],
        notifier=row["notifier"],
        kind=kind,
        severity=row["severity"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        retried_at=row["retried_at"],
        digest=summarize(connection, row["id"], row["content"]) if kind is NotificationKind.DIGEST else None,
        content=row["content"],
        **(_alert_fields(connection, row["alert_id"]) if row["alert_id"] is not None else {}),
    )


def _alert_fields(connection: Connection, alert_id: int) -> dict[str, Any]:
    """Return the fields of a notification that describe its alert's current state."""
    of_alert = {"alert_id": alert_id}
    alert = connection.execute(_ALERT, of_alert).mappings().one()
    event = connection.execute(_FIRST_EVENT, of_alert).first()
    alert_json = as_json(alert)
    failures = None
    if alert["risen"]:  # risen: a success followed failures
        before = {"succeeded_at": alert["succeeded_at"]}
        failures = connection.execute(_FAILURES_BEFORE, of_alert | before).scalar_one()
    return {
        "alert": alert_json,
        "event": EventReference(*event) if event is not None else None,
        "incident": incident_id(*(alert_json[name] for name in ("org", "rule_id", "dedup_key", "anchor"))),
        "failures_before": failures,
        "novelty": novelty_within(
            connection,
            alert["org"],
            alert["actor_id"],
            alert["client_ip"],
            as_number=alert["as_number"],
            country=alert["country"],
            at=alert["first_event_at"],
        ),
    }
