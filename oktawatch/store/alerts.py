"""Query alerts for people and scripts."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, case, desc, false, func, not_, or_, select

from oktawatch.model.alert import AlertStatus
from oktawatch.model.match import MatchedEvent
from oktawatch.model.privacy import REDACTED
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.networks import Network, lies_in, prefix_of

_columns = tables.alerts.c
_EVENT = tuple(
    tables.matches.c[name]
    for name in ("event_uuid", "published", "severity", *MatchedEvent.__struct_fields__)
)
_ACTION = tuple(column for column in tables.alert_actions.c if column.name != "alert_id")
_MOST_VALUES = 10_000  # in one IN; SQLite allows 32,766 parameters

Order = Literal["last", "first", "severity", "events", "id"]
"""The key by which alerts are sorted, in descending order."""
_ORDERS: Mapping[Order, ColumnElement[Any]] = {
    "last": _columns.last_event_at,
    "first": _columns.first_event_at,
    "severity": case(*((_columns.severity == severity, severity.value) for severity in Severity)),
    "events": _columns.event_count,
    "id": _columns.id,
}


class AlertFilter(Struct, frozen=True, kw_only=True):
    """A filter for alerts. A field with several values matches any of them."""

    since: datetime | None = None
    """Alerts with a match at or after this event time."""
    until: datetime | None = None
    """Alerts whose first match is before this event time."""
    orgs: Sequence[str] = ()
    rules: Sequence[str] = ()
    """Rule ids."""
    severity: Severity | None = None
    """The minimum severity."""
    statuses: Sequence[AlertStatus] = ()
    """Empty: all statuses but pending."""
    actors: Sequence[str] = ()
    """Case-insensitive globs (``*``, ``?``) for the actor's id or login."""
    actor_ids: Sequence[str] = ()
    """Okta's ids of users."""
    networks: Sequence[Network] = ()
    """Networks that contain the client's address."""
    countries: Sequence[str] = ()
    """Case-insensitive names of countries."""
    as_numbers: Sequence[int] = ()
    dispositions: Sequence[str] = ()
    changed_after: Mapping[str, int] | None = None
    """By org: the ``change_id`` that an alert must exceed. Alerts of other orgs don't match. None: any alert."""


def list_alerts(
    database: Database, wanted: AlertFilter, *, limit: int, order: Order = "last"
) -> list[dict[str, Any]]:
    """Return the first ``limit`` alerts in the given order, as JSON objects."""
    highest_first = (desc(_ORDERS[order]), desc(_columns.last_event_at), desc(_columns.id))
    query = select(tables.alerts).order_by(*highest_first)
    with database.read() as connection:
        # Sort only ids: sorting whole rows takes ten times as long, because each row contains an event.
        ids = _ids(connection, wanted, highest_first, limit)
        return [
            row for chunk in _chunks(ids) for row in _rows(connection, query.where(_columns.id.in_(chunk)))
        ]


def count_alerts(database: Database, wanted: AlertFilter) -> int:
    """Count the alerts that pass a filter."""
    query = select(func.count()).select_from(tables.alerts).where(*_conditions(wanted))
    with database.read() as connection:
        if wanted.networks:
            return len(_ids(connection, wanted, (), None))
        return connection.execute(query).scalar_one()


def alert_ids(database: Database, wanted: AlertFilter) -> list[int]:
    """Return the ids of all alerts that pass a filter, the smallest first."""
    with database.read() as connection:
        return _ids(connection, wanted, (_columns.id,), None)


def orgs_and_rules(database: Database) -> tuple[list[str], list[str]]:
    """Return the names of all orgs, and the ids of all rules that have alerts."""
    with database.read() as connection:
        orgs = connection.execute(select(tables.orgs.c.name).order_by(tables.orgs.c.name)).scalars().all()
        rules = connection.execute(select(_columns.rule_id).distinct().order_by(_columns.rule_id)).scalars()
        return list(orgs), list(rules)


def show_alert(database: Database, alert_id: int) -> dict[str, Any] | None:
    """Return the alert with this id as a JSON object, or None.

    ``events`` contains the alert's events in order of time, ``actions`` the decisions of people.
    """
    events = (
        select(*_EVENT)
        .where(tables.matches.c.alert_id == alert_id)
        .order_by(tables.matches.c.published, tables.matches.c.event_uuid)
    )
    actions = (
        select(*_ACTION)
        .where(tables.alert_actions.c.alert_id == alert_id)
        .order_by(tables.alert_actions.c.id)
    )
    with database.read() as connection:
        row = connection.execute(select(tables.alerts).where(_columns.id == alert_id)).mappings().first()
        if row is None:
            return None
        return as_json(row) | {"events": _rows(connection, events), "actions": _rows(connection, actions)}


def related_alerts(
    database: Database, alert: Mapping[str, Any], *, limit: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return an alert's related alerts: others of its person, and those of other or unknown people at its address.

    Each list has at most ``limit`` alerts of the same org, the latest first, without pending ones. The first list is empty
    if the alert has neither an actor's id nor an unredacted login. Several people can have the same redacted login.
    """
    name = "actor_id" if alert["actor_id"] is not None else "actor_alternate_id"
    person, address = alert[name], alert["client_ip"]
    if person == REDACTED:
        person = None
    others = (
        select(tables.alerts)
        .where(
            _columns.org == alert["org"], _columns.id != alert["id"], _columns.status != AlertStatus.PENDING
        )
        .order_by(desc(_columns.last_event_at), desc(_columns.id))
        .limit(limit)
    )
    is_of_person = _columns[name] == person if person is not None else false()
    with database.read() as connection:
        of_person = _rows(connection, others.where(is_of_person)) if person is not None else []
        if address is None:
            return of_person, []
        at_address = others.where(
            _columns.client_ip == address, or_(not_(is_of_person), _columns[name].is_(None))
        )
        return of_person, _rows(connection, at_address)


def as_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as a JSON object, with points in time and severities as text."""
    return {name: _json_value(value) for name, value in row.items()}


def _rows(connection: Connection, query: Any) -> list[dict[str, Any]]:
    return [as_json(row) for row in connection.execute(query).mappings()]


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_text(value)
    return value.name if isinstance(value, Severity) else value


def _conditions(wanted: AlertFilter) -> list[ColumnElement[bool]]:
    conditions = [
        _columns.status.in_(wanted.statuses) if wanted.statuses else _columns.status != AlertStatus.PENDING
    ]
    if wanted.since is not None:
        conditions.append(_columns.last_event_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_columns.first_event_at < wanted.until)
    if wanted.severity is not None:
        severities = [severity for severity in Severity if severity >= wanted.severity]
        conditions.append(_columns.severity.in_(severities))
    if wanted.actors:
        columns = (_columns.actor_id, _columns.actor_alternate_id)
        conditions.append(or_(*(_matches_glob(column, glob) for column in columns for glob in wanted.actors)))
    if wanted.countries:
        conditions.append(func.lower(_columns.country).in_([func.lower(name) for name in wanted.countries]))
    equal = {
        _columns.org: wanted.orgs,
        _columns.rule_id: wanted.rules,
        _columns.actor_id: wanted.actor_ids,
        _columns.as_number: wanted.as_numbers,
        _columns.disposition: wanted.dispositions,
    }
    conditions += [column.in_(values) for column, values in equal.items() if values]
    if wanted.changed_after is not None:
        changed = (
            and_(_columns.org == org, _columns.change_id > last) for org, last in wanted.changed_after.items()
        )
        conditions.append(or_(false(), *changed))
    return conditions


def _matches_glob(column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = escaped.replace("*", "%").replace("?", "_")
    # The database lowercases both sides, because SQLite's lower() changes only ASCII letters.
    return func.lower(column).like(func.lower(pattern), escape="\\")


def _ids(connection: Connection, wanted: AlertFilter, order: Sequence[Any], limit: int | None) -> list[int]:
    """Return the ids of the first ``limit`` alerts in the given order. None: all alerts.

    Addresses are parsed here and not by the database, because a stored address can be any text.
    """
    if not wanted.networks:
        query = select(_columns.id).where(*_conditions(wanted)).order_by(*order).limit(limit)
        return list(connection.execute(query).scalars())
    query = (
        select(_columns.id, _columns.client_ip)
        .where(*_conditions(wanted), or_(*map(_may_lie_in, wanted.networks)))
        .order_by(*order)
    )
    found = (row.id for row in connection.execute(query) if _is_in(row.client_ip, wanted.networks))
    return list(islice(found, limit))


def _may_lie_in(network: Network) -> ColumnElement[bool]:
    """Return a condition that every address in the network meets, to parse fewer rows. It works in any collation."""
    prefix = prefix_of(network)
    is_single = network.version == 4 and network.num_addresses == 1  # noqa: PLR2004 -- IPv4
    return _columns.client_ip == prefix if is_single else _columns.client_ip.startswith(prefix)


def _is_in(address: str | None, networks: Sequence[Network]) -> bool:
    return any(lies_in(address, network) for network in networks)


def _chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]
