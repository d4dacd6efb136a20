"""Read what is known about people who sign in through an anonymizer: failures, verdicts, and days of use of the same service.

Three statements read everything for a page, and each uses an index. Only the
latest failures and days are read, because an attacker can cause any number of a person's failures.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, select

from oktawatch.model.person_past import (
    FAILURE_WINDOW,
    FAMILIAR_DAYS,
    FAMILIAR_WINDOW,
    MANY_FAILURES,
    VERDICT_WINDOW,
    Past,
    PastQuery,
    Verdict,
    service_of,
)
from oktawatch.model.timestamps import from_text, shifted
from oktawatch.store import tables
from oktawatch.store.backend import to_json


class _Sql(Struct, frozen=True):
    """The SQL of one database. The parameters are the org and the queries. The result is a JSON array for each query."""

    failures: str
    days: str


_SQL = {
    "sqlite": _Sql(
        failures="""
            SELECT (
                SELECT json_group_array(json_array(published, uuid)) FROM (
                    SELECT published, uuid FROM events INDEXED BY ix_events_failed
                    WHERE org = ? AND failed_actor = json_extract(asked.value, '$[0]')
                      AND published BETWEEN json_extract(asked.value, '$[1]') AND json_extract(asked.value, '$[2]')
                    ORDER BY published DESC LIMIT {limit}
                )
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """,
        days="""
            SELECT (
                SELECT json_group_array(day) FROM (
                    SELECT day FROM familiar_days
                    WHERE org = ? AND actor_id = json_extract(asked.value, '$[0]')
                      AND service = json_extract(asked.value, '$[1]')
                      AND day >= json_extract(asked.value, '$[2]') AND day < json_extract(asked.value, '$[3]')
                    ORDER BY day DESC LIMIT {limit}
                )
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """,
    ),
    "postgresql": _Sql(
        failures="""
            SELECT (
                SELECT jsonb_agg(jsonb_build_array(
                  to_char(published AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), uuid
                ))::text
                FROM (
                    SELECT published, uuid FROM events
                    WHERE org = %s AND failed_actor = asked ->> 0
                      AND published BETWEEN (asked ->> 1)::timestamptz AND (asked ->> 2)::timestamptz
                    ORDER BY published DESC LIMIT {limit}
                ) AS latest
            )
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS list(asked, number) ORDER BY number
        """,
        days="""
            SELECT (
                SELECT jsonb_agg(day)::text FROM (
                    SELECT day FROM familiar_days
                    WHERE org = %s AND actor_id = asked ->> 0 AND service = asked ->> 1
                      AND day >= asked ->> 2 AND day < asked ->> 3
                    ORDER BY day DESC LIMIT {limit}
                ) AS found
            )
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS list(asked, number) ORDER BY number
        """,
    ),
}
_alerts = tables.alerts.c
_VERDICTS = select(
    _alerts.actor_id, _alerts.disposition, _alerts.closed_at, _alerts.operator, _alerts.as_number
).where(
    _alerts.org == bindparam("org"),
    _alerts.actor_id.in_(bindparam("actors", expanding=True)),
    _alerts.disposition.is_not(None),
    _alerts.closed_at >= bindparam("since"),
)
_MOST_VALUES = 5_000  # in one IN; SQLite allows 32,766 parameters


def read_pasts(connection: Connection, org: str, queries: Sequence[PastQuery]) -> list[Past]:
    """Return the `Past` of each query's person, in the order of the queries."""
    if not queries:
        return []
    sql = _SQL[connection.dialect.name]
    failures = [
        (query.actor_id, shifted(query.published, -FAILURE_WINDOW), query.published) for query in queries
    ]
    days = [
        (
            query.actor_id,
            query.service,
            shifted(query.published, -FAMILIAR_WINDOW)[:10],
            query.published[:10],
        )
        for query in queries
    ]
    found_failures = _lists(connection, sql.failures.format(limit=MANY_FAILURES), org, failures)
    found_days = _lists(connection, sql.days.format(limit=FAMILIAR_DAYS), org, days)
    verdicts = _verdicts(connection, org, queries)
    return [
        Past(frozenset(map(tuple, failed)), frozenset(familiar), tuple(verdicts.get(query.actor_id, ())))
        for query, failed, familiar in zip(queries, found_failures, found_days, strict=True)
    ]


def _lists(connection: Connection, sql: str, org: str, asked: Sequence[Any]) -> list[list[Any]]:
    found = connection.exec_driver_sql(sql, (org, to_json(asked))).scalars()
    return [msgspec.json.decode(text) if text else [] for text in found]


def _verdicts(connection: Connection, org: str, queries: Sequence[PastQuery]) -> dict[str, list[Verdict]]:
    """Return the verdicts of alerts closed since `VERDICT_WINDOW` before the earliest query, by actor id."""
    since = from_text(shifted(min(query.published for query in queries), -VERDICT_WINDOW))
    found: dict[str, list[Verdict]] = {}
    everyone = sorted({query.actor_id for query in queries})
    for start in range(0, len(everyone), _MOST_VALUES):
        values = {"org": org, "actors": everyone[start : start + _MOST_VALUES], "since": since}
        for actor, disposition, closed_at, operator, as_number in connection.execute(_VERDICTS, values):
            verdict = Verdict(disposition, closed_at, service_of(operator, as_number))
            found.setdefault(actor, []).append(verdict)
    return found
