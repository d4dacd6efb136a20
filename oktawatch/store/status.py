"""The rows of `oktawatch status`, one per org, and counts of notifications."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, ScalarSelect, func, select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.notification import NotificationState
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.leases import holders


class PollState(Struct, frozen=True, kw_only=True):
    """The latest polling of an org, as recorded in the database."""

    org: str
    last_poll_at: datetime | None
    """When the last poll ended, successfully or not."""
    last_caught_up_at: datetime | None
    """When a poll last reached the end of the stream."""
    recent_elements: int
    """Elements of recent polls, where older ones have less weight: see `cursors`."""
    recent_rejected: int
    """The elements among them that were no usable events."""
    last_error: str | None
    """The error of the last poll, or None if it succeeded."""


class OrgStatus(PollState, frozen=True, kw_only=True):
    """The status of an org in the database."""

    last_published: datetime | None
    """Event time of the newest polled event."""
    events_seen: int
    events_rejected: int
    """Elements that were no usable events, each counted once."""
    events_late: int
    """Events that polling had missed and a sweep found."""
    open_alerts: int
    """Alerts with the status OPEN. The view ``open_alerts`` also contains acknowledged alerts."""
    pending_notifications: int
    """Notifications about the org's alerts that are still to be sent, without digests."""
    dead_notifications: int
    """Notifications about the org's alerts whose delivery was abandoned, without digests."""
    last_error_at: datetime | None
    holder: str | None
    """The replica that polls the org. None if there is none, and always on SQLite."""


def org_statuses(database: Database) -> list[OrgStatus]:
    """Return the status of every org in the database, ordered by name."""
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


def poll_states(connection: Connection) -> dict[str, PollState]:
    """Return the poll state of every org in the database, by name."""
    orgs, cursors = tables.orgs.c, tables.cursors.c
    query = select(
        orgs.name.label("org"),
        orgs.last_poll_at,
        cursors.last_caught_up_at,
        orgs.recent_elements,
        orgs.recent_rejected,
        orgs.last_error,
    ).outerjoin_from(tables.orgs, tables.cursors, cursors.org == orgs.name)
    return {row["org"]: PollState(**row) for row in connection.execute(query).mappings()}


def count_undone(database: Database) -> dict[str, int]:
    """Count all pending and dead notifications, by state, including those that are not about a single org."""
    with database.read() as connection:
        return {state.value: count for state, count in count_undone_within(connection).items()}


def count_undone_within(connection: Connection) -> dict[NotificationState, int]:
    """Count all pending and dead notifications, as `count_undone` does, within a transaction."""
    states = (NotificationState.PENDING, NotificationState.DEAD)
    column = tables.notifications.c.state
    query = select(column, func.count()).where(column.in_(states)).group_by(column)
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in states}


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
