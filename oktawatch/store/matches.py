"""What is recorded of single events: matches that alerts hold, signals, that they were seen, history."""

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


def recorded(
    database: Database, orgs: Sequence[str], rules: Sequence[str], event_uuid: str
) -> list[dict[str, Any]]:
    """Give the matches of an event as JSON objects, each with its alert's id, status and title.

    They are looked up by these rules' ids, since a match's key begins with its org and its rule.
    """
    query = (
        select(
            _matches.org,
            _matches.rule_id,
            _matches.published,
            _matches.alert_id,
            tables.alerts.c.status,
            tables.alerts.c.title,
        )
        .select_from(tables.matches.outerjoin(tables.alerts, _matches.alert_id == tables.alerts.c.id))
        .where(_matches.org.in_(orgs), _matches.rule_id.in_(rules), _matches.event_uuid == event_uuid)
    )
    with database.read() as connection:
        return [as_json(row) for row in connection.execute(query).mappings()]


def signalled(database: Database, org: str, published: datetime, event_uuid: str) -> list[str]:
    """Name the rules that have recorded a signal of an event."""
    columns = tables.events.c
    query = select(columns.signals).where(
        columns.org == org, columns.published == published, columns.uuid == event_uuid
    )
    with database.read() as connection:
        return connection.execute(query).scalar() or []


def seen_at(
    database: Database, orgs: Sequence[str], event_uuid: str, *, since: datetime
) -> tuple[str, datetime] | None:
    """Give the org and time of an event that was seen, among those published since a point in time.

    A scan of that span, since events lie in order of time.
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


def remembered(database: Database, org: str, published: datetime, event_uuid: str) -> HistoryRow | None:
    """Return what history remembers of an event."""
    at = to_text(published)
    with database.read() as connection:
        rows = StoredHistory(connection, org).between(at, at, max_bytes=_AT_ONE_MOMENT_BYTES) or []
    return next((row for row in rows if row.uuid == event_uuid), None)
