"""What `oktawatch status` shows: one row an org."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import ScalarSelect, func, select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.notification import NotificationState
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.leases import holders


class OrgStatus(Struct, frozen=True, kw_only=True):
    """How an org stands, as far as the database knows."""

    org: str
    last_poll_at: datetime | None
    """When its last poll ended, well or badly."""
    last_caught_up_at: datetime | None
    """When a poll last reached the end of the stream."""
    last_published: datetime | None
    events_seen: int
    events_rejected: int
    recent_elements: int
    recent_rejected: int
    events_late: int
    """Events that polling had missed and a sweep found."""
    open_alerts: int
    pending_notifications: int
    """What waits in the outbox to be sent."""
    dead_notifications: int
    """What was given up."""
    last_error: str | None
    """What the last poll failed of; None when it did not."""
    last_error_at: datetime | None
    holder: str | None
    """The replica that polls it; None where there are no replicas, or none holds it."""


def org_statuses(database: Database) -> list[OrgStatus]:
    """Give every org that the database knows, by name."""
    orgs, cursors = tables.orgs.c, tables.cursors.c
    query = (
        select(
            orgs.name.label("org"),
            orgs.last_poll_at,
            cursors.last_caught_up_at,
            cursors.last_published,
            orgs.events_seen,
            orgs.events_rejected,
            orgs.recent_elements,
            orgs.recent_rejected,
            orgs.events_late,
            _open_alerts().label("open_alerts"),
            _notifications(NotificationState.PENDING).label("pending_notifications"),
            _notifications(NotificationState.DEAD).label("dead_notifications"),
            orgs.last_error,
            orgs.last_error_at,
        )
        .outerjoin(tables.cursors, cursors.org == orgs.name)
        .order_by(orgs.name)
    )
    with database.read() as connection:
        held = holders(connection) if database.shared else {}
        return [OrgStatus(**row, holder=held.get(row["org"])) for row in connection.execute(query).mappings()]


def count_undone(database: Database) -> dict[str, int]:
    """Count what waits in the outbox and what was given up, whether it tells of one org or of many."""
    states = (NotificationState.PENDING, NotificationState.DEAD)
    column = tables.notifications.c.state
    query = select(column, func.count()).where(column.in_(states)).group_by(column)
    with database.read() as connection:
        found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {state.value: found.get(state, 0) for state in states}


def _open_alerts() -> ScalarSelect[int]:
    alerts = tables.alerts.c
    return (
        select(func.count())
        .where(alerts.org == tables.orgs.c.name, alerts.status == AlertStatus.OPEN)
        .correlate(tables.orgs)
        .scalar_subquery()
    )


def _notifications(state: NotificationState) -> ScalarSelect[int]:
    return (
        select(func.count())
        .select_from(tables.notifications.join(tables.alerts))
        .where(tables.alerts.c.org == tables.orgs.c.name, tables.notifications.c.state == state)
        .correlate(tables.orgs)
        .scalar_subquery()
    )
