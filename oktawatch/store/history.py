"""The past of one org as detections ask for it: one statement a question, however much is asked.

What is asked goes to the database as one JSON document and is joined there, so that neither the number
of statements nor their text grows with a page. Each database takes JSON apart with functions of its own.

Rows lie in ``events`` as a key and one JSON array. A whole row is decoded here, in one go; where the
database has to look at a field it takes it out of the array. So what looks at fields must not look at many
rows for each event asked about: it goes through a stretch of time once, whatever a page asks, or by the
index of proxied events.

Stretches of time are range scans of the primary key. Who asks for the same stretches page after page
keeps them (``engine.history_cache``), and can tell by the history's version whether what it kept is still all there is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from oktawatch.model.history import COLUMNS, KEY, Column, Earlier, HistoryRow, Stretch
from oktawatch.store.backend import to_json

_KEY = HistoryRow.__struct_fields__[:KEY]
FIELDS = {name: place for place, name in enumerate(HistoryRow.__struct_fields__[KEY:COLUMNS])}
"""Where in a row's array its fields lie."""

_decode = msgspec.json.Decoder().decode


class _Sql(Struct, frozen=True):
    """How one database is asked. Columns and conditions are filled in, values are not."""

    value: str
    """Stands for a value."""
    moment: str
    """Stands for a point in time, given as canonical text."""
    canonical: str
    """Gives a point in time as canonical text."""
    fields: str
    """Gives a row's array as text."""
    field: str
    """Gives one of its texts by its place."""
    truth: str
    """Gives one that is true or false."""
    rows: str
    """Asked with the stretches and the org."""
    seen: str
    """By the index. Asked with the org, the values of types and conditions, and what is asked about."""
    among: str
    """Tells whether something is one of the texts of a JSON array, which is taken apart once."""


_SQL = {
    # CROSS JOIN keeps the order: from each stretch that is asked for to its part of the table.
    "sqlite": _Sql(
        value="?",
        moment="?",
        canonical="{}",
        fields="fields",
        field="json_extract(fields, '$[{}]')",
        truth="json_extract(fields, '$[{}]')",
        rows="""
            SELECT {columns}
            FROM json_each(?) AS stretch
            CROSS JOIN events
            WHERE org = ?
              AND {column} IN (SELECT value FROM json_each(stretch.value, '$[2]'))
              AND published BETWEEN json_extract(stretch.value, '$[0]') AND json_extract(stretch.value, '$[1]')
        """,
        seen="""
            SELECT EXISTS (
                SELECT 1 FROM events INDEXED BY ix_events_proxied
                WHERE org = ? AND proxied_actor = json_extract(asked.value, '$[0]')
                  AND published BETWEEN json_extract(asked.value, '$[1]') AND json_extract(asked.value, '$[2]')
                  AND NOT (published = json_extract(asked.value, '$[2]') AND uuid = json_extract(asked.value, '$[3]'))
                  AND ({types}){conditions}
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """,
        among="{} IN (SELECT value FROM json_each(?))",
    ),
    # OFFSET 0 does the same.
    "postgresql": _Sql(
        value="%s",
        moment="%s::timestamptz",
        canonical="""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
        fields="fields::text",
        field="(fields ->> {})",
        truth="(fields ->> {})::boolean",
        rows="""
            SELECT {columns}
            FROM jsonb_array_elements(%s::jsonb) AS stretch
            CROSS JOIN LATERAL (
                SELECT * FROM events
                WHERE org = %s AND {column} IN (SELECT jsonb_array_elements_text(stretch -> 2))
                  AND published BETWEEN (stretch ->> 0)::timestamptz AND (stretch ->> 1)::timestamptz
                OFFSET 0
            ) AS found
        """,
        seen="""
            SELECT EXISTS (
                SELECT 1 FROM events
                WHERE org = %s AND proxied_actor = asked ->> 0
                  AND published BETWEEN (asked ->> 1)::timestamptz AND (asked ->> 2)::timestamptz
                  AND NOT (published = (asked ->> 2)::timestamptz AND uuid = asked ->> 3)
                  AND ({types}){conditions}
            )
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS list(asked, number) ORDER BY number
        """,
        # IS TRUE keeps it from becoming a join, which where statistics are missing is a loop within a loop.
        among="({} IN (SELECT jsonb_array_elements_text(%s::jsonb))) IS TRUE",
    ),
}


class StoredHistory:
    """Answers detections' questions about one org, within a page's transaction."""

    def __init__(self, connection: Connection, org: str) -> None:
        self._connection = connection
        self._org = org
        self._sql = _SQL[connection.dialect.name]
        self._published = self._sql.canonical.format("published")
        self._columns = f"{self._published}, uuid, {self._sql.fields}"

    def between(self, since: str, until: str, *, limit: int) -> list[HistoryRow] | None:
        """Give every row of a stretch of time, both ends included; None when that is more than ``limit``."""
        sql = self._sql
        stretch = (
            f"FROM events WHERE org = {sql.value} AND published BETWEEN {sql.moment} AND {sql.moment} "
            "AND fields IS NOT NULL"
        )
        # Counting goes by the key alone and costs a fraction of reading.
        counted = f"SELECT count(*) FROM (SELECT 1 {stretch} LIMIT {limit + 1}) AS few"  # noqa: S608 -- a number, and this method's own text
        [(count,)] = self._run(counted, self._org, since, until)
        if count > limit:
            return None
        selected = f"SELECT {self._columns} {stretch}"
        return _rows(self._run(selected, self._org, since, until)) if count else []

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> list[HistoryRow]:
        """Give every row whose ``column`` has one of a stretch's values within that stretch."""
        statement = self._sql.rows.format(columns=self._columns, column=self._named(column))
        asked = [(since, until, sorted(values)) for since, until, values in stretches]
        return _rows(self._run(statement, to_json(asked), self._org))

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """Tell for each event asked about whether there is an earlier row of its key."""
        if column == "actor_id" and conditions.get("is_proxy") is True:
            others = {name: value for name, value in conditions.items() if name != "is_proxy"}
            return self._seen_by_index(asked, event_types, others)
        return self._seen_on_the_way(column, asked, event_types, conditions) if asked else []

    def began(self, event_types: Sequence[str]) -> str | None:
        """Give the earliest ``published`` of these event types that is remembered; None for none at all.

        Where earlier ones were pruned: the time from which on all are remembered, if that is earlier.
        """
        types, values = self._types(event_types, self._named("event_type"))
        # In order of the primary key, stopping at the first: min() would read the whole table.
        remembered = f"""
            SELECT {self._published} FROM events
            WHERE org = {self._sql.value} AND ({types}) ORDER BY events.published LIMIT 1
        """  # noqa: S608 -- column names alone, and only the table's own
        types, values = self._types(event_types, "event_type")
        pruned = f"""
            SELECT {self._published} FROM (
                SELECT min(before) AS published FROM pruned_history WHERE org = {self._sql.value} AND ({types})
            ) AS noted WHERE published IS NOT NULL
        """  # noqa: S608 -- likewise
        both = [*self._run(remembered, self._org, *values), *self._run(pruned, self._org, *values)]
        return min((published for (published,) in both), default=None)

    def _seen_by_index(
        self, asked: Sequence[Earlier], event_types: Sequence[str], conditions: Mapping[str, str | bool]
    ) -> list[bool]:
        """Look up proxied events of an actor, one by one."""
        filled, values = self._filled(event_types, conditions)
        statement = self._sql.seen.format(**filled)
        return [bool(found) for (found,) in self._run(statement, self._org, *values, to_json(asked))]

    def _seen_on_the_way(
        self,
        column: Column,
        asked: Sequence[Earlier],
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """Go once through the time that all look back on, however many ask.

        Of a value's rows before the page the latest decides for all that ask about it. Those of the page's own
        time, of which there are few, are looked at one by one.
        """
        filled, values = self._filled(event_types, conditions)
        sql, value = self._sql, self._named(column)
        moment = sql.moment
        statement = f"""
            SELECT {value} AS value, {sql.canonical.format("max(published)")},
              CASE WHEN published >= {moment} THEN uuid END AS own, CASE WHEN published >= {moment} THEN published END AS at
            FROM events
            WHERE org = {sql.value} AND published BETWEEN {moment} AND {moment} AND {sql.among.format(value)}
              AND ({filled["types"]}){filled["conditions"]}
            GROUP BY value, own, at
        """  # noqa: S608 -- columns' names alone
        since, first = min(one.since for one in asked), min(one.published for one in asked)
        until, wanted = max(one.published for one in asked), to_json(sorted({one.value for one in asked}))
        found: dict[str, list[tuple[str, str]]] = {}
        for key, published, uuid, _ in self._run(
            statement, first, first, self._org, since, until, wanted, *values
        ):
            found.setdefault(key, []).append((published, uuid or ""))
        for rows in found.values():
            rows.sort()
        return [_has_earlier(found.get(one.value, ()), one) for one in asked]

    def _filled(
        self, event_types: Sequence[str], conditions: Mapping[str, str | bool]
    ) -> tuple[dict[str, str], list[str]]:
        """Give the text of the tests that a row must pass, and the values in it."""
        types, values = self._types(event_types, self._named("event_type"))
        tests = (
            f" AND {'' if value else 'NOT '}{self._named(name)}"
            if isinstance(value, bool)
            else f" AND {self._named(name)} = {self._sql.value}"
            for name, value in conditions.items()
        )
        values += [value for value in conditions.values() if not isinstance(value, bool)]
        return {"types": types, "conditions": "".join(tests)}, values

    def _types(self, event_types: Sequence[str], column: str) -> tuple[str, list[str]]:
        value = self._sql.value
        names = [name for name in event_types if not name.endswith("*")]
        prefixes = [name[:-1] for name in event_types if name.endswith("*")]
        tests = [f"{column} IN ({', '.join([value] * len(names))})"] if names else []
        tests += [f"substr({column}, 1, length({value})) = {value}" for _ in prefixes]
        return " OR ".join(tests) or "1 = 0", [*names, *(prefix for prefix in prefixes for _ in range(2))]

    def _named(self, name: str) -> str:
        """Give the SQL for a column of ``history``; raise KeyError for what is none: names stand in statements."""
        if name in _KEY:
            return name
        sql = self._sql.truth if name == "is_proxy" else self._sql.field
        return sql.format(FIELDS[name])

    def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(statement, values).all()


def _rows(found: Iterable[tuple[str, str, str]]) -> list[HistoryRow]:
    return [HistoryRow(published, uuid, *_decode(fields)) for published, uuid, fields in found]


def _has_earlier(rows: Sequence[tuple[str, str]], one: Earlier) -> bool:
    """Tell whether one of these, in order of time, is earlier: the latest one that is not the event itself."""
    at = bisect_right(rows, one.published, key=itemgetter(0))
    return any(
        published >= one.since and (published, uuid) != (one.published, one.uuid)
        for published, uuid in rows[max(0, at - 2) : at]
    )
