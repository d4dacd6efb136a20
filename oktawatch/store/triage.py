"""People's decisions about alerts: acknowledge, close, reopen, note.

One transaction inserts a row into ``alert_actions``, updates the alert's own columns, which hold its latest
state, and enqueues the notifications. It locks the org's row first, as a page's transaction does, so that
decisions and pages are committed one after the other and don't overwrite each other's changes.
"""

import enum
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, RowMapping, select, update

from oktawatch.model.alert import AlertStatus
from oktawatch.model.notification import NotificationKind, NotificationState
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import lock_org, next_change

_columns = tables.alerts.c
_UNDECIDED = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)


class Action(enum.StrEnum):
    """A person's action on an alert."""

    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    """The alert was closed, or the verdict on a closed alert was changed."""
    REOPENED = "reopened"
    NOTED = "noted"


class Decision(Struct, frozen=True, kw_only=True):
    """A decision about one or more alerts."""

    action: Action
    by: str
    """The person."""
    disposition: str | None = None
    """The verdict, for CLOSED only."""
    note: str | None = None


class TriageError(StoreError):
    """An unknown alert, or one whose status does not allow the decision. Nothing was changed."""


class TriageTransaction:
    """The reads and writes of one decision's transaction."""

    def __init__(
        self,
        database: Database,
        connection: Connection,
        ids: Sequence[int],
        change_ids: Mapping[str, int],
        now: datetime,
    ) -> None:
        self._database = database
        self._connection = connection
        self._ids = ids
        self._change_ids = change_ids
        self._now = now
        query = select(tables.alerts).where(_columns.id.in_(ids))
        self.alerts = {alert["id"]: alert for alert in connection.execute(query).mappings()}
        """The alerts that exist, by id."""

    def apply(
        self, decision: Decision, kind: NotificationKind | None, notifiers: Mapping[int, Sequence[str]]
    ) -> None:
        """Apply a decision to all alerts, and enqueue notifications of ``kind`` (None: no notifications).

        ``notifiers`` are those to notify, by the alert's id. Raises TriageError if an alert does not exist or its status
        does not allow the action.
        """
        for notifier in sorted({name for names in notifiers.values() for name in names}):
            self._database.lock(self._connection, f"outbox of {notifier}")
        for alert_id in self._ids:
            if alert_id not in self.alerts:
                raise TriageError(f"no such alert ({alert_id}): see 'oktawatch alerts list'")
            alert = self.alerts[alert_id]
            _apply(self._connection, alert, decision, self._change_ids[alert["org"]], self._now)
            if kind is not None:
                _enqueue(self._connection, alert, decision, kind, notifiers[alert_id], self._now)


@contextmanager
def triage_transaction(
    database: Database, ids: Iterable[int], *, now: datetime
) -> Iterator[TriageTransaction]:
    """Open the transaction of a decision about these alerts, which locks the rows of their orgs.

    Commits at the end, or rolls back on any error.
    """
    wanted = sorted(set(ids))
    with database.write() as connection:
        orgs = connection.execute(select(_columns.org).where(_columns.id.in_(wanted)).distinct()).scalars()
        change_ids = {}
        for org in sorted(orgs):  # a fixed order, so that concurrent decisions can't deadlock
            lock_org(database, connection, org)
            change_ids[org] = next_change(connection, org, now=now)
        yield TriageTransaction(database, connection, wanted, change_ids, now)


def _enqueue(
    connection: Connection,
    alert: RowMapping,
    decision: Decision,
    kind: NotificationKind,
    notifiers: Sequence[str],
    now: datetime,
) -> None:
    if kind is NotificationKind.CLOSED:
        _drop_pending(connection, alert["id"], notifiers)
    content = {
        "by": decision.by,
        "disposition": decision.disposition,
        "note": decision.note,
        "at": to_text(now),
    }
    rows = [
        {
            "id": str(uuid.uuid4()),
            "alert_id": alert["id"],
            "notifier": notifier,
            "kind": kind,
            "severity": alert["severity"],
            "state": NotificationState.PENDING,
            "attempts": 0,
            "next_attempt_at": now,
            "created_at": now,
            "late": False,
            "content": content,
        }
        for notifier in notifiers
    ]
    if rows:
        connection.execute(tables.notifications.insert(), rows)


def _drop_pending(connection: Connection, alert_id: int, notifiers: Sequence[str]) -> None:
    """Drop the pending notifications of these notifiers about an alert.

    Otherwise an ``opened`` that is retried after the ``closed`` would reopen the receiver's incident.
    """
    notifications = tables.notifications.c
    connection.execute(
        update(tables.notifications)
        .where(
            notifications.alert_id == alert_id,
            notifications.notifier.in_(notifiers),
            notifications.state == NotificationState.PENDING,
        )
        .values(state=NotificationState.DROPPED, next_attempt_at=None)
    )


def _apply(
    connection: Connection, alert: RowMapping, decision: Decision, change_id: int, now: datetime
) -> None:
    values = _changes(alert, decision, now) | {"updated_at": now, "change_id": change_id}
    if decision.note is not None:
        values["note"] = decision.note
    connection.execute(update(tables.alerts).where(_columns.id == alert["id"]).values(values))
    row = {
        "alert_id": alert["id"],
        "at": now,
        "by": decision.by,
        "action": decision.action,
        "disposition": decision.disposition,
        "note": decision.note,
    }
    connection.execute(tables.alert_actions.insert(), row)


def _changes(alert: RowMapping, decision: Decision, now: datetime) -> dict[str, Any]:
    """Return the new values of an alert's columns. Raise TriageError if its status does not allow the action."""
    match decision.action:
        case Action.ACKNOWLEDGED:
            _require(alert, *_UNDECIDED)
            return {"status": AlertStatus.ACKNOWLEDGED}
        case Action.CLOSED:
            verdict = {"closed_by": decision.by, "disposition": decision.disposition}
            if alert["status"] == AlertStatus.CLOSED and decision.disposition is not None:
                return verdict
            _require(alert, *_UNDECIDED)
            # At least the time of the last event, because the verdict covers it.
            return verdict | {"status": AlertStatus.CLOSED, "closed_at": max(now, alert["last_event_at"])}
        case Action.REOPENED:
            _require(alert, AlertStatus.CLOSED)
            return {"status": AlertStatus.OPEN, "closed_at": None, "closed_by": None, "disposition": None}
        case Action.NOTED:
            _require(alert, *_UNDECIDED, AlertStatus.CLOSED)
            return {}


def _require(alert: RowMapping, *statuses: AlertStatus) -> None:
    if alert["status"] in statuses:
        return
    advice = {
        AlertStatus.PENDING: "its rule's threshold has not been reached",
        AlertStatus.CLOSED: "'oktawatch alerts reopen' opens it again, 'close --as' changes its verdict",
    }.get(AlertStatus(alert["status"]), "only a closed alert can be reopened")
    raise TriageError(f"the alert is {alert['status']} ({alert['id']}): {advice}")
