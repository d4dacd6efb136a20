"""What people decide about alerts: acknowledged, closed, reopened.

A page's transaction writes an alert as it read it under the org's row. So a decision takes that row too:
it comes before the page or after it, and neither undoes the other.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, update

from oktawatch.model.alert import AlertStatus
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import take_org

_columns = tables.alerts.c


class TriageError(StoreError):
    """An alert can't be decided about like that; nothing was changed."""


def acknowledge(database: Database, ids: Sequence[int], *, now: datetime) -> None:
    """Take alerts on. One that is acknowledged stays so; a closed or pending one raises TriageError."""

    def taken_on(alert: RowMapping) -> dict[str, Any]:
        _must_be(alert, AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)
        return {"status": AlertStatus.ACKNOWLEDGED}

    _decide(database, ids, taken_on, now=now)


def close(
    database: Database,
    ids: Sequence[int],
    *,
    by: str,
    disposition: str | None,
    note: str | None,
    now: datetime,
) -> None:
    """Close alerts: a later match of their key opens another one. A closed or pending one raises TriageError.

    ``closed_at`` is never before the last match, which the closing answers for.
    """

    def closed(alert: RowMapping) -> dict[str, Any]:
        _must_be(alert, AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)
        values = {
            "status": AlertStatus.CLOSED,
            "closed_at": max(now, alert["last_event_at"]),
            "closed_by": by,
            "disposition": disposition,
        }
        return values if note is None else values | {"note": note}

    _decide(database, ids, closed, now=now)


def reopen(database: Database, ids: Sequence[int], *, now: datetime) -> None:
    """Open closed alerts again: matches may join them as before. Another one raises TriageError."""

    def opened(alert: RowMapping) -> dict[str, Any]:
        _must_be(alert, AlertStatus.CLOSED)
        return {"status": AlertStatus.OPEN, "closed_at": None, "closed_by": None, "disposition": None}

    _decide(database, ids, opened, now=now)


def _decide(
    database: Database, ids: Sequence[int], decision: Callable[[RowMapping], dict[str, Any]], *, now: datetime
) -> None:
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
            values = decision(found[alert_id]) | {"updated_at": now}
            connection.execute(update(tables.alerts).where(_columns.id == alert_id).values(values))


def _must_be(alert: RowMapping, *statuses: AlertStatus) -> None:
    if alert["status"] in statuses:
        return
    advice = {
        AlertStatus.PENDING: "its rule's threshold is not reached, there is nothing to decide yet",
        AlertStatus.CLOSED: "'oktawatch alerts reopen' opens it again",
    }.get(AlertStatus(alert["status"]), "only a closed one can be opened again")
    raise TriageError(f"the alert is {alert['status']} ({alert['id']}): {advice}")
