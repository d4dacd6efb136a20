"""The past of one org as detections ask for it: one statement a question, however much is asked.

What is asked goes to the database as one JSON document and is joined there, so that neither the number
of statements nor their text grows with a page. Each database takes JSON apart with functions of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch
from oktawatch.store import tables
from oktawatch.store.backend import to_json
from oktawatch.store.bulk import insert_new

_COLUMNS = tuple(column.name for column in tables.history.columns if column.name != "org")


class _Sql(Struct, frozen=True):
    """How one database is asked. Columns' names and conditions are filled in, values are not."""

    value: str
    """Stands for a value."""
    published: str
    """Gives canonical text."""
    rows: str
    """Asked with the stretches and the org."""
    seen: str
    """Asked with the org, the values of types and conditions, and what is asked about."""


_SQL = {
    # CROSS JOIN and INDEXED BY keep to the way from what is asked to the index: the planner, which
    # knows nothing of what is asked, would rather read the table's stretch of time.
    "sqlite": _Sql(
        value="?",
        published="published",
        rows="""
            SELECT {columns}
            FROM json_each(?) AS stretch
            CROSS JOIN json_each(stretch.value, '$[2]') AS wanted
            CROSS JOIN history INDEXED BY ix_history_org_{column}
            WHERE history.org = ? AND history.{column} = wanted.value
              AND history.published BETWEEN json_extract(stretch.value, '$[0]') AND json_extract(stretch.value, '$[1]')
        """,
        seen="""
            SELECT EXISTS (
                SELECT 1 FROM history INDEXED BY ix_history_org_{column}
                WHERE org = ? AND {column} = json_extract(asked.value, '$[0]')
                  AND published BETWEEN json_extract(asked.value, '$[1]') AND json_extract(asked.value, '$[2]')
                  AND NOT (published = json_extract(asked.value, '$[2]') AND uuid = json_extract(asked.value, '$[3]'))
                  AND ({types}){conditions}
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """,
    ),
    # OFFSET 0 does the same: one value after the other, each by the index.
    "postgresql": _Sql(
        value="%s",
        published="""to_char(published AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
        rows="""
            SELECT {columns}
            FROM jsonb_array_elements(%s::jsonb) AS stretch
            CROSS JOIN jsonb_array_elements_text(stretch -> 2) AS wanted
            CROSS JOIN LATERAL (
                SELECT * FROM history
                WHERE org = %s AND {column} = wanted
                  AND published BETWEEN (stretch ->> 0)::timestamptz AND (stretch ->> 1)::timestamptz
                OFFSET 0
            ) AS found
        """,
        seen="""
            SELECT EXISTS (
                SELECT 1 FROM history
                WHERE org = %s AND {column} = asked ->> 0
                  AND published BETWEEN (asked ->> 1)::timestamptz AND (asked ->> 2)::timestamptz
                  AND NOT (published = (asked ->> 2)::timestamptz AND uuid = asked ->> 3)
                  AND ({types}){conditions}
            )
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS list(asked, number) ORDER BY number
        """,
    ),
}


class StoredHistory:
    """Answers detections' questions about one org, within a page's transaction."""

    def __init__(self, connection: Connection, org: str) -> None:
        self._connection = connection
        self._org = org
        self._sql = _SQL[connection.dialect.name]

    def add(self, rows: Sequence[HistoryRow]) -> None:
        """Remember rows; what is remembered already stays as it is."""
        insert_new(self._connection, tables.history, [(self._org, *row.columns) for row in rows])

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> Iterator[HistoryRow]:
        """Give every row whose ``column`` has one of a stretch's values within that stretch."""
        columns = ", ".join((self._sql.published, *_COLUMNS[1:]))
        statement = self._sql.rows.format(columns=columns, column=_known(column))
        asked = [(since, until, sorted(values)) for since, until, values in stretches]
        for row in self._run(statement, to_json(asked), self._org):
            yield _row(row)

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """Tell for each event asked about whether there is an earlier row of its key."""
        types, type_values = self._types(event_types)
        wanted = "".join(f" AND {_known(name)} = {self._sql.value}" for name in conditions)
        statement = self._sql.seen.format(column=_known(column), types=types, conditions=wanted)
        values = (self._org, *type_values, *conditions.values(), to_json(asked))
        return [bool(found) for (found,) in self._run(statement, *values)]

    def began(self, event_types: Sequence[str]) -> str | None:
        """Give the earliest ``published`` of these event types that is remembered; None for none at all."""
        types, values = self._types(event_types)
        # In order of the primary key, stopping at the first: min() would read the whole table.
        statement = f"""
            SELECT {self._sql.published} FROM history
            WHERE org = {self._sql.value} AND ({types}) ORDER BY history.published LIMIT 1
        """  # noqa: S608 -- column names alone, and only the table's own
        return next((published for (published,) in self._run(statement, self._org, *values)), None)

    def _types(self, event_types: Sequence[str]) -> tuple[str, list[str]]:
        value = self._sql.value
        names = [name for name in event_types if not name.endswith("*")]
        prefixes = [name[:-1] for name in event_types if name.endswith("*")]
        tests = [f"event_type IN ({', '.join([value] * len(names))})"] if names else []
        tests += [f"substr(event_type, 1, length({value})) = {value}" for _ in prefixes]
        return " OR ".join(tests) or "1 = 0", [*names, *(prefix for prefix in prefixes for _ in range(2))]

    def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(statement, values).all()


def _known(name: str) -> str:
    """Give the column's name; raise KeyError for what is no column: names stand in the statement's text."""
    return tables.history.c[name].name


def _row(values: Sequence[Any]) -> HistoryRow:
    row = HistoryRow(*values)
    row.is_proxy = None if row.is_proxy is None else bool(row.is_proxy)  # SQLite has no truth, only 1 and 0
    return row
