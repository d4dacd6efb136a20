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
"""The maximum number of events of an exported alert. The earliest events are exported."""
_BATCH_ALERTS = 200
_columns = tables.alerts.c
_matches = tables.matches.c
_EVENT = tuple(_matches[name] for name in ("event_uuid", "published", *MatchedEvent.__struct_fields__))


def last_changes(database: Database) -> dict[str, int]:
    """Return the latest change number of each org's alerts, by the org's name.

    All changes of the org with smaller numbers are also committed.
    """
    query = select(tables.orgs.c.name, tables.orgs.c.alert_change_id)
    with database.read() as connection:
        return {row.name: row.alert_change_id for row in connection.execute(query)}


def export_alerts(database: Database, wanted: AlertFilter) -> Iterator[dict[str, Any]]:
    """Yield alerts as JSON objects in the order of their ids, each with its earliest ``events``, up to `MOST_EVENTS`.

    Each batch is read in its own transaction, so a slow reader of the export blocks nothing. Only the ids of all
    alerts are held in memory.
    """
    ids = alert_ids(database, wanted)
    for start in range(0, len(ids), _BATCH_ALERTS):
        batch = ids[start : start + _BATCH_ALERTS]
        query = select(tables.alerts).where(_columns.id.in_(batch)).order_by(_columns.id)
        with database.read() as connection:
            alerts = [as_json(row) for row in connection.execute(query).mappings()]
            events = _events(connection, batch)
        yield from (alert | {"events": events[alert["id"]]} for alert in alerts)


def _events(connection: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the earliest events of each alert, by the alert's id."""
    position = func.row_number().over(
        partition_by=_matches.alert_id, order_by=(_matches.published, _matches.event_uuid)
    )
    numbered = (
        select(_matches.alert_id, *_EVENT, position.label("position"))
        .where(_matches.alert_id.in_(ids))
        .subquery()
    )
    query = (
        select(numbered)
        .where(numbered.c.position <= MOST_EVENTS)
        .order_by(numbered.c.alert_id, numbered.c.position)
    )
    found = defaultdict(list)
    for row in connection.execute(query).mappings():
        event = as_json(row)
        del event["position"]
        found[event.pop("alert_id")].append(event)
    return found
