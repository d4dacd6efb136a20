"""What people decide about alerts: acknowledge, close, reopen, note.

Each decision is a row of ``alert_actions`` and changes the alert's own columns, which hold the latest
state, in one transaction. A page's transaction writes an alert as it read it under the org's row. So a
decision takes that row too: it comes before the page or after it, and neither undoes the other.
"""

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, RowMapping, select, update

from oktawatch.model.alert import AlertStatus
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import take_org

_columns = tables.alerts.c
_UNDECIDED = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)


class Action(enum.StrEnum):
    """What somebody did about an alert."""

    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    """Also a change of the verdict on a closed alert."""
    REOPENED = "reopened"
    NOTED = "noted"


class Decision(Struct, frozen=True, kw_only=True):
    """One decision, about any number of alerts."""

    action: Action
    by: str
    """Who decided."""
    disposition: str | None = None
    """What the alert turned out to be; for CLOSED alone."""
    note: str | None = None


class TriageError(StoreError):
    """An alert is in no state for this decision; nothing was changed."""


def decide(database: Database, ids: Sequence[int], decision: Decision, *, now: datetime) -> None:
    """Apply a decision to alerts: to all of them, or to none.

    An acknowledged alert may be acknowledged again. A closed alert may be closed again with a disposition,
    which changes its verdict and nothing else. Raises TriageError for an alert that does not exist, is
    pending, or is in no state for the action.
    """
    wanted = sorted(set(ids))
    with database.write() as connection:
        orgs = connection.execute(select(_columns.org).where(_columns.id.in_(wanted)).distinct()).scalars()
        for org in sorted(orgs):  # in one order, so that two who decide at once can't wait for each other
            take_org(database, connection, org)
        query = select(_columns.id, _columns.status, _columns.last_event_at).where(_columns.id.in_(wanted))
        found = {alert["id"]: alert for alert in connection.execute(query).mappings()}
        for alert_id in wanted:
            if alert_id not in found:
                raise TriageError(f"no such alert ({alert_id}): see 'oktawatch alerts list'")
            _apply(connection, found[alert_id], decision, now)


def _apply(connection: Connection, alert: RowMapping, decision: Decision, now: datetime) -> None:
    values = _changes(alert, decision, now) | {"updated_at": now}
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
    """Return the new values of an alert's own columns; raise TriageError where the action does not fit."""
    match decision.action:
        case Action.ACKNOWLEDGED:
            _require(alert, *_UNDECIDED)
            return {"status": AlertStatus.ACKNOWLEDGED}
        case Action.CLOSED:
            verdict = {"closed_by": decision.by, "disposition": decision.disposition}
            if alert["status"] == AlertStatus.CLOSED and decision.disposition is not None:
                return verdict
            _require(alert, *_UNDECIDED)
            # Never before the last event, which the closing answers for.
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
        AlertStatus.PENDING: "its rule's threshold is not reached, so there is nothing to decide yet",
        AlertStatus.CLOSED: "'oktawatch alerts reopen' opens it again, 'close --as' changes its verdict",
    }.get(AlertStatus(alert["status"]), "only a closed alert can be reopened")
    raise TriageError(f"the alert is {alert['status']} ({alert['id']}): {advice}")
