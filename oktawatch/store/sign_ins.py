"""Query the latest sign-ins of people or addresses from ``history``.

History is indexed by time and not by person or address, because such an index would more than double the cost of
inserting a row. So it is read backwards in growing time ranges, until there are enough sign-ins or the time
limit is reached. The result states how far back it reaches.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Boolean, Connection, String, column, func, select, table

from oktawatch.model.history import SIGN_IN
from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database
from oktawatch.store.types import Moment

_FIRST_RANGE = timedelta(hours=6)
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
_AT_ONCE = 1_000  # values in one IN


class SignIns(Struct, frozen=True, kw_only=True):
    """Sign-ins, the latest first, and how far back they reach."""

    rows: list[dict[str, Any]]
    """JSON objects with the columns of ``history``, and ``alerts``: the ids of the alerts they are in."""
    since: datetime
    """The event time from which on every sign-in was read."""
    complete: bool
    """Whether the whole requested time range was read."""


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
    """Return the latest sign-ins of the actors, or from the addresses, in a time range.

    Stops after ``limit`` sign-ins, or after ``patience_s`` seconds.
    """
    values = list(actor_ids) or list(addresses)
    matched = _columns.actor_id if actor_ids else _columns.client_ip
    begun, length, end = clock(), _FIRST_RANGE, until
    found: list[dict[str, Any]] = []
    with database.read() as connection:
        while end > since and len(found) < limit and (end == until or clock() - begun < patience_s):
            start = max(since, end - length)
            query = (
                select(*(_columns[name] for name in (*_SHOWN, "is_proxy")))
                .where(
                    _columns.org == org,
                    _columns.published >= start,
                    _columns.published < end,
                    _columns.event_type == SIGN_IN,
                    matched.in_(values[:_AT_ONCE]),
                )
                .order_by(_columns.published.desc(), _columns.uuid.desc())
                .limit(limit - len(found))
            )
            found += [as_json(row) for row in connection.execute(query).mappings()]
            end, length = start, length * 2
        alerts = _alerts_of(connection, org, [row["uuid"] for row in found])
    full = len(found) == limit
    return SignIns(
        rows=[row | {"alerts": alerts.get(row["uuid"], [])} for row in found],
        since=end,
        complete=end <= since and not full,
    )


def other_people(
    database: Database, org: str, actor_ids: Sequence[str], addresses: Sequence[str]
) -> dict[str, int]:
    """Return the number of people other than the actors that signed in from each address, if any did."""
    sightings = tables.sightings.c
    query = (
        select(sightings.client_ip, func.count())
        .where(
            sightings.org == org,
            sightings.client_ip.in_([address for address in addresses if address][:_AT_ONCE]),
            sightings.actor_id.not_in(["", *actor_ids[:_AT_ONCE]]),
        )
        .group_by(sightings.client_ip)
    )
    with database.read() as connection:
        return {row.client_ip: row[1] for row in connection.execute(query)}


def _alerts_of(connection: Connection, org: str, uuids: Sequence[str]) -> dict[str, list[int]]:
    """Return the ids of the alerts that events are in, by their uuids."""
    matches = tables.matches.c
    rules = list(connection.execute(select(tables.alerts.c.rule_id).distinct()).scalars())
    found: dict[str, list[int]] = {}
    for begin in range(0, len(uuids), _AT_ONCE):
        query = select(matches.event_uuid, matches.alert_id).where(
            matches.org == org,
            matches.rule_id.in_(rules),
            matches.event_uuid.in_(uuids[begin : begin + _AT_ONCE]),
            matches.alert_id.is_not(None),
        )
        for uuid, alert_id in connection.execute(query):
            found.setdefault(uuid, []).append(alert_id)
    return found
