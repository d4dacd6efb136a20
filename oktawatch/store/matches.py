"""Query what is stored about single events: matches, signals and history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import column, func, select, table

from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database
from oktawatch.store.history import StoredHistory
from oktawatch.store.types import Moment

_matches = tables.matches.c
_signals = table("signals", column("published", Moment))  # the view
_AT_ONE_MOMENT_BYTES = 50_000_000


def count_matches(database: Database, *, since: datetime) -> int:
    """Count the matches and signals of events published since a point in time."""
    with database.read() as connection:
        return sum(
            connection.execute(
                select(func.count()).select_from(counted).where(counted.c.published >= since)
            ).scalar_one()
            for counted in (tables.matches, _signals)
        )


def recorded_matches(
    database: Database, orgs: Sequence[str], rules: Sequence[str], event_uuid: str
) -> list[dict[str, Any]]:
    """Return the matches of an event as JSON objects, each with its severity, and its alert's id, status and title.

    ``rules`` are the ids of all rules, for the look-up by primary key, which begins with org and rule.
    """
    query = (
        select(
            _matches.org,
            _matches.rule_id,
            _matches.published,
            _matches.severity,
            _matches.alert_id,
            tables.alerts.c.status,
            tables.alerts.c.title,
        )
        .select_from(tables.matches.outerjoin(tables.alerts, _matches.alert_id == tables.alerts.c.id))
        .where(_matches.org.in_(orgs), _matches.rule_id.in_(rules), _matches.event_uuid == event_uuid)
    )
    with database.read() as connection:
        return [as_json(row) for row in connection.execute(query).mappings()]


def recorded_signals(database: Database, org: str, published: datetime, event_uuid: str) -> list[str]:
    """Return the ids of the rules that recorded an event as a signal."""
    columns = tables.events.c
    query = select(columns.signals).where(
        columns.org == org, columns.published == published, columns.uuid == event_uuid
    )
    with database.read() as connection:
        return connection.execute(query).scalar() or []


def find_event(
    database: Database, orgs: Sequence[str], event_uuid: str, *, since: datetime
) -> tuple[str, datetime] | None:
    """Return the org and time of a stored event that was published since a point in time.

    Scans all events since then, because events are indexed by time and not by uuid.
    """
    columns = tables.events.c
    query = (
        select(columns.org, columns.published)
        .where(columns.org.in_(orgs), columns.published >= since, columns.uuid == event_uuid)
        .limit(1)
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else (row.org, row.published)


def find_history_row(database: Database, org: str, published: datetime, event_uuid: str) -> HistoryRow | None:
    """Return an event's history row, or None."""
    at = to_text(published)
    with database.read() as connection:
        rows = StoredHistory(connection, org).between(at, at, max_bytes=_AT_ONE_MOMENT_BYTES) or []
    return next((row for row in rows if row.uuid == event_uuid), None)
