"""What `oktawatch status` shows: one row an org."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.notification import NotificationState
from oktawatch.store import tables
from oktawatch.store.database import Database


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
    open_alerts: int
    last_error: str | None
    """What the last poll failed of; None when it did not."""
    last_error_at: datetime | None


class OutboxStatus(Struct, frozen=True, kw_only=True):
    """How the outbox stands."""

    pending: int
    dead: int


def org_statuses(database: Database) -> list[OrgStatus]:
    """Give every org that the database knows, by name."""
    orgs, cursors, alerts = tables.orgs.c, tables.cursors.c, tables.alerts.c
    open_alerts = (
        select(func.count())
        .where(alerts.org == orgs.name, alerts.status == AlertStatus.OPEN)
        .correlate(tables.orgs)
        .scalar_subquery()
    )
    query = (
        select(
            orgs.name.label("org"),
            orgs.last_poll_at,
            cursors.last_caught_up_at,
            cursors.last_published,
            orgs.events_seen,
            orgs.events_rejected,
            open_alerts.label("open_alerts"),
            orgs.last_error,
            orgs.last_error_at,
        )
        .outerjoin(tables.cursors, cursors.org == orgs.name)
        .order_by(orgs.name)
    )
    with database.read() as connection:
        return [OrgStatus(**row) for row in connection.execute(query).mappings()]


def outbox_status(database: Database) -> OutboxStatus:
    """Count what waits in the outbox and what died there."""
    state = tables.notifications.c.state
    query = select(state, func.count()).group_by(state)
    with database.read() as connection:
        counts = {row[0]: row[1] for row in connection.execute(query)}
    return OutboxStatus(
        pending=counts.get(NotificationState.PENDING, 0), dead=counts.get(NotificationState.DEAD, 0)
    )
