"""Query the latest sign-ins of people or addresses from ``history``.

History is indexed by time and not by person or address, because such an index would more than double the cost of
inserting a row. So history is read backwards in time ranges, from the latest sign-in in ``sightings`` to the first, until
there are enough sign-ins or the time limit is reached. The result states how far back it reaches.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Boolean, Connection, String, column, func, select, table

from oktawatch.model.history import SIGN_IN
from oktawatch.model.timestamps import from_text
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database
from oktawatch.store.types import Moment

_FIRST_RANGE = timedelta(hours=1)
_MOMENT = timedelta(milliseconds=1)
_SHOWN = (
    "org", "published", "uuid", "actor_id", "actor_alternate_id", "client_ip", "outcome", "outcome_reason",
    "country", "city", "as_number", "user_agent", "risk", "behaviours",
)  # fmt: skip
_history = table(
    "history",
    column("published", Moment),
    column("event_type", String),
    column("is_proxy", Boolean),
    *(column(name) for name in _SHOWN if name != "published"),
)
_columns = _history.c
_MOST_VALUES = 1_000
"""The maximum number of values in one ``IN``. Further people and addresses are ignored; uuids are looked up in batches."""


class SignIns(Struct, frozen=True, kw_only=True):
    """Sign-ins, the latest first, and how far back they reach."""

    rows: list[dict[str, Any]]
    """JSON objects with columns of ``history``, and ``alerts``: the ids of the sign-in's alerts."""
    since: datetime
    """All sign-ins since this event time are in ``rows``."""
    complete: bool
    """Whether all sign-ins of the requested time range are in ``rows``."""


def recent_sign_ins(
    database: Database,
    org: str,
    *,
    actor_ids: Sequence[str] = (),
    addresses: Sequence[str] = (),
    since: datetime,
    until: datetime,
    limit: int,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> SignIns:
    """Return the latest sign-ins in a time range: of the actors or, without ``actor_ids``, from the addresses.

    Stops after ``limit`` sign-ins, or after about ``patience_s`` seconds. Each range is at most as long as can be read in
    the remaining time, estimated from the previous range.
    """
    name, values = ("actor_id", actor_ids) if actor_ids else ("client_ip", addresses)
    found: list[dict[str, Any]] = []
    with database.read() as connection:
        begin, end = _seen_within(connection, org, name, values, since, until)
        started, length, is_first = clock(), _FIRST_RANGE, True
        while end > begin and len(found) < limit:
            elapsed_s = clock() - started
            if not is_first and elapsed_s >= patience_s:
                break
            start = max(begin, end - length)
            found += _sign_ins(connection, org, name, values, start, end, limit - len(found))
            took_s = clock() - started - elapsed_s
            remaining_s = patience_s - elapsed_s - took_s
            length = max(_MOMENT, length * min(2.0, remaining_s / took_s if took_s > 0 else 2.0))
            end, is_first = start, False
        alerts = _alerts_of(connection, org, [row["uuid"] for row in found])
    limited = len(found) >= limit > 0
    complete = end <= begin and not limited
    reached = from_text(found[-1]["published"]) if limited else end
    return SignIns(
        rows=[row | {"alerts": alerts.get(row["uuid"], [])} for row in found],
        since=since if complete else reached,
        complete=complete,
    )


def _seen_within(
    connection: Connection, org: str, name: str, values: Sequence[str], since: datetime, until: datetime
) -> tuple[datetime, datetime]:
    """Return the part of a time range that can contain sign-ins, according to the sightings."""
    sightings = tables.sightings.c
    query = select(func.min(sightings.first_at), func.max(sightings.last_at)).where(
        sightings.org == org, sightings[name].in_(values[:_MOST_VALUES])
    )
    first_at, last_at = connection.execute(query).one()
    if first_at is None:
        return until, until
    return max(since, first_at), min(until, last_at + _MOMENT)


def _sign_ins(
    connection: Connection,
    org: str,
    name: str,
    values: Sequence[str],
    start: datetime,
    end: datetime,
    limit: int,
) -> list[dict[str, Any]]:
    """Return the latest sign-ins in a time range whose column `name` has one of the values, as JSON objects."""
    query = (
        select(*(_columns[shown] for shown in (*_SHOWN, "is_proxy")))
        .where(
            _columns.org == org,
            _columns.published >= start,
            _columns.published < end,
            _columns.event_type == SIGN_IN,
            _columns[name].in_(values[:_MOST_VALUES]),
        )
        .order_by(_columns.published.desc(), _columns.uuid.desc())
        .limit(limit)
    )
    return [as_json(row) for row in connection.execute(query).mappings()]


def other_people(
    database: Database, org: str, actor_ids: Sequence[str], addresses: Sequence[str]
) -> dict[str, int]:
    """Return how many people other than these actors signed in from each address. Addresses without any are absent."""
    sightings = tables.sightings.c
    query = (
        select(sightings.client_ip, func.count())
        .where(
            sightings.org == org,
            sightings.client_ip.in_([address for address in addresses if address][:_MOST_VALUES]),
            sightings.actor_id.not_in(["", *actor_ids[:_MOST_VALUES]]),
        )
        .group_by(sightings.client_ip)
    )
    with database.read() as connection:
        return {row.client_ip: row[1] for row in connection.execute(query)}


def _alerts_of(connection: Connection, org: str, uuids: Sequence[str]) -> dict[str, list[int]]:
    """Return the ids of each event's alerts, by the event's uuid."""
    matches = tables.matches.c
    rules = list(connection.execute(select(tables.alerts.c.rule_id).distinct()).scalars())
    found: dict[str, list[int]] = {}
    for begin in range(0, len(uuids), _MOST_VALUES):
        query = select(matches.event_uuid, matches.alert_id).where(
            matches.org == org,
            matches.rule_id.in_(rules),
            matches.event_uuid.in_(uuids[begin : begin + _MOST_VALUES]),
            matches.alert_id.is_not(None),
        )
        for uuid, alert_id in connection.execute(query):
            found.setdefault(uuid, []).append(alert_id)
    return found
