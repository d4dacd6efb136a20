"""Read alerts with their events for an export, in batches of limited size."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from oktawatch.model.match import MatchedEvent
from oktawatch.store import tables
from oktawatch.store.alerts import AlertFilter, alert_ids, as_json
from oktawatch.store.database import Database

MOST_EVENTS = 100
"""The maximum number of an alert's events in an export, the first ones."""
_ALERTS_AT_ONCE = 200
_columns = tables.alerts.c
_matches = tables.matches.c
_EVENT = tuple(_matches[name] for name in ("event_uuid", "published", *MatchedEvent.__struct_fields__))


def last_changes(database: Database) -> dict[str, int]:
    """Return the number of the latest change of an alert, by org.

    All changes with smaller numbers can be read, too: an org's changes are committed in the order of their numbers.
    """
    query = select(tables.orgs.c.name, tables.orgs.c.alert_change_id)
    with database.read() as connection:
        return {row.name: row.alert_change_id for row in connection.execute(query)}


def export_alerts(database: Database, wanted: AlertFilter) -> Iterator[dict[str, Any]]:
    """Yield alerts as JSON objects, the oldest first, each with its first ``events``.

    Each batch is read in its own transaction, so a slow reader of the export blocks nothing. Only the ids of all
    alerts are held in memory.
    """
    ids = alert_ids(database, wanted)
    for start in range(0, len(ids), _ALERTS_AT_ONCE):
        some = ids[start : start + _ALERTS_AT_ONCE]
        query = select(tables.alerts).where(_columns.id.in_(some)).order_by(_columns.id)
        with database.read() as connection:
            alerts = [as_json(row) for row in connection.execute(query).mappings()]
            events = _events(connection, some)
        yield from (alert | {"events": events[alert["id"]]} for alert in alerts)


def _events(connection: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the first events of each alert, by the alert's id."""
    place = func.row_number().over(
        partition_by=_matches.alert_id, order_by=(_matches.published, _matches.event_uuid)
    )
    numbered = (
        select(_matches.alert_id, *_EVENT, place.label("place")).where(_matches.alert_id.in_(ids)).subquery()
    )
    query = (
        select(numbered)
        .where(numbered.c.place <= MOST_EVENTS)
        .order_by(numbered.c.alert_id, numbered.c.place)
    )
    found = defaultdict(list)
    for row in connection.execute(query).mappings():
        event = as_json(row)
        del event["place"]
        found[event.pop("alert_id")].append(event)
    return found
