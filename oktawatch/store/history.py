"""Query the history of an org for rules.

The values of a page's events are sent to the database as JSON and joined there, so that neither the number of
statements nor their text grows with the page. Each database has its own JSON functions.

Rows are stored in ``events`` as a key and one JSON array. Whole rows are decoded here. A statement that filters
by a field extracts the field from each row's array, which is slow. So such a statement scans each time range once, not
once for each event, or uses the index of proxied events.

A time range is read by a range scan of the primary key. ``engine.history_cache`` keeps recent rows in memory, and
uses the history's version to detect whether they are still complete.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from oktawatch.model.history import FLAGS, ROW_BYTES, Column, HistoryRow, SeenQuery, TimeRange, memory_of
from oktawatch.model.person_past import Past, PastQuery
from oktawatch.store.backend import to_json
from oktawatch.store.history_fields import KEY, PLACES, decode_row
from oktawatch.store.person_past import read_pasts

_BATCH = 1_000
"""Rows to read at a time."""


class _Sql(Struct, frozen=True):
    """The SQL of one database. Columns and conditions are filled in, values are bound."""

    value: str
    """The placeholder of a value."""
    moment: str
    """The placeholder of a point in time, bound as canonical text."""
    canonical: str
    """Converts a point in time to canonical text."""
    fields: str
    """A row's array as text."""
    field: str
    """A text of the array, by its index."""
    truth: str
    """A boolean of the array, by its index."""
    rows: str
    """Rows and the number of their time range. Parameters: the time ranges, the org, the values of all ranges."""
    seen: str
    """Whether each query has an earlier event in the index. Parameters: the org, the values of types and conditions, the queries."""
    among: str
    """Whether a value is one of the texts of a JSON array, which the database parses once."""


_SQL = {
    # CROSS JOIN keeps the join order: from each time range to its part of the table.
    "sqlite": _Sql(
        value="?",
        moment="?",
        canonical="{}",
        fields="fields",
        field="json_extract(fields, '$[{}]')",
        truth="json_extract(fields, '$[{}]')",
        rows="""
            SELECT {columns}, time_range.key
            FROM json_each(?) AS time_range
            CROSS JOIN events
            WHERE org = ?
              AND {among}
              AND published BETWEEN json_extract(time_range.value, '$[0]') AND json_extract(time_range.value, '$[1]')
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
    # OFFSET 0 keeps the join order.
    "postgresql": _Sql(
        value="%s",
        moment="%s::timestamptz",
        canonical="""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
        fields="fields::text",
        field="(fields ->> {})",
        truth="(fields ->> {})::boolean",
        rows="""
            SELECT {columns}, number - 1
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS list(time_range, number)
            CROSS JOIN LATERAL (
                SELECT * FROM events
                WHERE org = %s AND {among}
                  AND published BETWEEN (time_range ->> 0)::timestamptz AND (time_range ->> 1)::timestamptz
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
        # IS TRUE keeps the planner from turning this into a join, which without statistics would be a nested loop.
        among="({} IN (SELECT jsonb_array_elements_text(%s::jsonb))) IS TRUE",
    ),
}


class StoredHistory:
    """Answers rules' queries about one org, within a page's transaction."""

    def __init__(self, connection: Connection, org: str) -> None:
        self._connection = connection
        self._org = org
        self._sql = _SQL[connection.dialect.name]
        self._published = self._sql.canonical.format("published")
        self._columns = f"{self._published}, uuid, {self._sql.fields}"

    def between(self, since: str, until: str, *, max_bytes: int) -> list[HistoryRow] | None:
        """Return every row of a time range, both ends included; None if they take more than ``max_bytes`` of memory."""
        limit = max(0, max_bytes) // ROW_BYTES
        sql = self._sql
        selection = (
            f"FROM events WHERE org = {sql.value} AND published BETWEEN {sql.moment} AND {sql.moment} "
            "AND fields IS NOT NULL"
        )
        # Counting costs a fraction of reading the rows.
        counted = f"SELECT count(*) FROM (SELECT 1 {selection} LIMIT {limit + 1}) AS few"  # noqa: S608 -- a number, and this method's own text
        [(count,)] = self._run(counted, self._org, since, until)
        if count > limit:
            return None
        rows: list[HistoryRow] = []
        if count:
            # In batches, because rows with long texts can take far more memory than ROW_BYTES.
            selected, streamed = f"SELECT {self._columns} {selection}", {"yield_per": _BATCH}
            values = (self._org, since, until)
            with self._connection.exec_driver_sql(selected, values, execution_options=streamed) as found:
                for batch in found.partitions():
                    new = _rows(batch)
                    max_bytes -= memory_of(new)
                    if max_bytes < 0:
                        return None
                    rows += new
        return rows

    def rows(self, column: Column, ranges: Sequence[TimeRange]) -> list[HistoryRow]:
        """Return, for each range, the rows within the range that have one of the range's values in ``column``."""
        # One set with the values of all ranges, so that the database parses it once and not for each row.
        among = self._sql.among.format(self._named(column))
        statement = self._sql.rows.format(columns=self._columns, among=among)
        times = to_json([(since, until) for since, until, _ in ranges])
        values = to_json(sorted(set().union(*(values for _, _, values in ranges))))
        found = self._run(statement, times, self._org, values)
        rows = _rows(row[:3] for row in found)
        return [
            row
            for row, (*_, number) in zip(rows, found, strict=True)
            if getattr(row, column) in ranges[number].values
        ]

    def seen(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
        any_true: Sequence[str] = (),
    ) -> list[bool]:
        """Return for each query whether an earlier row matches it: see ``detection.history.History``."""
        if not queries:
            return []
        filled, values = self._filled(event_types, conditions, any_true)
        true_columns = {name for name, value in conditions.items() if value is True}
        # The index contains every event that has an actor and a true flag.
        if column == "actor_id" and (true_columns & FLAGS or (any_true and FLAGS.issuperset(any_true))):
            return self._seen_by_index(queries, filled, values)
        return self._seen_by_scan(column, queries, filled, values)

    def pasts(self, queries: Sequence[PastQuery]) -> list[Past]:
        """Return the `Past` of each query's person, in the order of the queries."""
        return read_pasts(self._connection, self._org, queries)

    def began(self, event_types: Sequence[str]) -> str | None:
        """Return when the history of these event types begins, or None if there is none.

        This is the earliest ``published`` or the end of the pruned time, whichever is earlier.
        """
        types, values = self._types(event_types, self._named("event_type"))
        # ORDER BY the primary key stops at the first row. min() would read the whole table.
        stored = f"""
            SELECT {self._published} FROM events
            WHERE org = {self._sql.value} AND ({types}) ORDER BY events.published LIMIT 1
        """  # noqa: S608 -- column names alone, and only the table's own
        types, values = self._types(event_types, "event_type")
        pruned = f"""
            SELECT {self._published} FROM (
                SELECT min(before) AS published FROM pruned_history WHERE org = {self._sql.value} AND ({types})
            ) AS noted WHERE published IS NOT NULL
        """  # noqa: S608 -- column names alone, and only the table's own
        both = [*self._run(stored, self._org, *values), *self._run(pruned, self._org, *values)]
        return min((published for (published,) in both), default=None)

    def _seen_by_index(
        self, queries: Sequence[SeenQuery], filled: Mapping[str, str], values: Sequence[str]
    ) -> list[bool]:
        """Look up the events of each query's actor that came through an anonymizer."""
        statement = self._sql.seen.format(**filled)
        return [bool(found) for (found,) in self._run(statement, self._org, *values, to_json(queries))]

    def _seen_by_scan(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        filled: Mapping[str, str],
        values: Sequence[str],
    ) -> list[bool]:
        """Scan the time range of all queries once.

        Rows from before the page are grouped by value, because only the latest row of each value can make a
        difference. The few rows within the page's own time range are compared one by one.
        """
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
        since, first = min(query.since for query in queries), min(query.published for query in queries)
        until, wanted = (
            max(query.published for query in queries),
            to_json(sorted({query.value for query in queries})),
        )
        found: dict[str, list[tuple[str, str]]] = {}
        for key, published, uuid, _ in self._run(
            statement, first, first, self._org, since, until, wanted, *values
        ):
            found.setdefault(key, []).append((published, uuid or ""))
        for rows in found.values():
            rows.sort()
        return [_any_earlier(found.get(query.value, ()), query) for query in queries]

    def _filled(
        self, event_types: Sequence[str], conditions: Mapping[str, str | bool], any_true: Sequence[str]
    ) -> tuple[dict[str, str], list[str]]:
        """Return the SQL conditions for rows, and their values."""
        types, values = self._types(event_types, self._named("event_type"))
        tests = (
            f" AND {'' if value else 'NOT '}{self._named(name)}"
            if isinstance(value, bool)
            else f" AND {self._named(name)} = {self._sql.value}"
            for name, value in conditions.items()
        )
        values += [value for value in conditions.values() if not isinstance(value, bool)]
        either = f" AND ({' OR '.join(map(self._named, any_true))})" if any_true else ""
        return {"types": types, "conditions": "".join(tests) + either}, values

    def _types(self, event_types: Sequence[str], column: str) -> tuple[str, list[str]]:
        value = self._sql.value
        names = [name for name in event_types if not name.endswith("*")]
        prefixes = [name[:-1] for name in event_types if name.endswith("*")]
        tests = [f"{column} IN ({', '.join([value] * len(names))})"] if names else []
        tests += [f"substr({column}, 1, length({value})) = {value}" for _ in prefixes]
        return " OR ".join(tests) or "1 = 0", [*names, *(prefix for prefix in prefixes for _ in range(2))]

    def _named(self, name: str) -> str:
        """Return the SQL of a column of ``history``. Raise KeyError for any other name, to prevent SQL injection."""
        if name in KEY:
            return name
        sql = self._sql.truth if name in FLAGS else self._sql.field
        return sql.format(PLACES[name])

    def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(statement, values).all()


def _rows(found: Iterable[tuple[str, str, str]]) -> list[HistoryRow]:
    return [decode_row(*row) for row in found]


def _any_earlier(rows: Sequence[tuple[str, str]], query: SeenQuery) -> bool:
    """Return whether these sorted rows contain another event within the query's time range.

    The last two rows in the range suffice, because at most one of them is the query's event.
    """
    at = bisect_right(rows, query.published, key=itemgetter(0))
    return any(
        published >= query.since and (published, uuid) != (query.published, query.uuid)
        for published, uuid in rows[max(0, at - 2) : at]
    )
