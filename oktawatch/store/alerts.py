"""Alerts as people and scripts look at them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import desc, func, select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.match import MatchedEvent
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.database import Database

_columns = tables.alerts.c
_EVENT = tuple(
    tables.matches.c[name]
    for name in ("event_uuid", "published", "severity", *MatchedEvent.__struct_fields__)
)


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts are wanted; None leaves a part open."""

    since: datetime | None = None
    """Alerts with a match at or after this event time."""
    org: str | None = None
    rule: str | None = None
    severity: Severity | None = None
    """At least this severe."""
    status: AlertStatus | None = None
    """None: all but pending ones."""
    actor: str | None = None
    """The actor's id or login."""
    ip: str | None = None


def list_alerts(database: Database, wanted: AlertFilter, *, limit: int) -> list[dict[str, Any]]:
    """Give alerts as JSON objects, the one with the latest match first."""
    query = select(tables.alerts).order_by(desc(_columns.last_event_at), desc(_columns.id)).limit(limit)
    for condition in _conditions(wanted):
        query = query.where(condition)
    with database.read() as connection:
        return [as_json(row) for row in connection.execute(query).mappings()]


def count_alerts(database: Database, wanted: AlertFilter) -> int:
    """Count alerts."""
    query = select(func.count()).select_from(tables.alerts)
    for condition in _conditions(wanted):
        query = query.where(condition)
    with database.read() as connection:
        return connection.execute(query).scalar_one()


def show_alert(database: Database, alert_id: int) -> dict[str, Any] | None:
    """Return one alert as a JSON object, or None: its events are under ``events``, what people decided under ``actions``."""
    matches = (
        select(*_EVENT)
        .where(tables.matches.c.alert_id == alert_id)
        .order_by(tables.matches.c.published, tables.matches.c.event_uuid)
    )
    actions = (
        select(*[column for column in tables.alert_actions.c if column.name != "alert_id"])
        .where(tables.alert_actions.c.alert_id == alert_id)
        .order_by(tables.alert_actions.c.id)
    )
    with database.read() as connection:
        row = connection.execute(select(tables.alerts).where(_columns.id == alert_id)).mappings().first()
        if row is None:
            return None
        events = [as_json(match) for match in connection.execute(matches).mappings()]
        decided = [as_json(action) for action in connection.execute(actions).mappings()]
    return as_json(row) | {"events": events, "actions": decided}


def as_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Give a row as a JSON object: points in time and severities as their texts."""
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_text(value)
    return value.name if isinstance(value, Severity) else value


def _conditions(wanted: AlertFilter) -> Sequence[Any]:
    conditions = [
        _columns.status == wanted.status if wanted.status else _columns.status != AlertStatus.PENDING,
    ]
    if wanted.since:
        conditions.append(_columns.last_event_at >= wanted.since)
    if wanted.org:
        conditions.append(_columns.org == wanted.org)
    if wanted.rule:
        conditions.append(_columns.rule_id == wanted.rule)
    if wanted.severity:
        worse = [severity for severity in Severity if severity >= wanted.severity]
        conditions.append(_columns.severity.in_(worse))
    if wanted.actor:
        conditions.append((_columns.actor_id == wanted.actor) | (_columns.actor_alternate_id == wanted.actor))
    if wanted.ip:
        conditions.append(_columns.client_ip == wanted.ip)
    return conditions
