"""The past of one org as detections ask for it: one statement a question, however much is asked.

What is asked goes to the database as one JSON document and is joined there, so that neither the number
of statements nor their text grows with a page. Each database takes JSON apart with functions of its own.

Stretches of time are range scans of the primary key. Who asks for the same stretches page after page
keeps them (``engine.recent``), and can tell by ``version`` whether what it kept is still all there is.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, select, update

from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch
from oktawatch.store import tables
from oktawatch.store.backend import to_json
from oktawatch.store.bulk import insert_new_of

_COLUMNS = tuple(column.name for column in tables.history.columns if column.name != "org")

_VERSION = select(tables.orgs.c.history_version).where(tables.orgs.c.name == bindparam("org"))
_SET_VERSION = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("named"))
    .values(history_version=bindparam("version"))
)


class _Sql(Struct, frozen=True):
    """How one database is asked. Columns' names and conditions are filled in, values are not."""

    value: str
    """Stands for a value."""
    moment: str
    """Stands for a point in time, given as canonical text."""
    published: str
    """Gives canonical text."""
    rows: str
    """Asked with the stretches and the org."""
    seen: str
    """Asked with the org, the values of types and conditions, and what is asked about."""


_SQL = {
    # CROSS JOIN keeps the order: from each stretch that is asked for to its part of the table.
    "sqlite": _Sql(
        value="?",
        moment="?",
        published="published",
        rows="""
            SELECT {columns}
            FROM json_each(?) AS stretch
            CROSS JOIN history
            WHERE history.org = ?
              AND history.{column} IN (SELECT value FROM json_each(stretch.value, '$[2]'))
              AND history.published BETWEEN json_extract(stretch.value, '$[0]') AND json_extract(stretch.value, '$[1]')
        """,
        seen="""
            SELECT EXISTS (
                SELECT 1 FROM history {indexed}
                WHERE org = ? AND {column} = json_extract(asked.value, '$[0]')
                  AND published BETWEEN json_extract(asked.value, '$[1]') AND json_extract(asked.value, '$[2]')
                  AND NOT (published = json_extract(asked.value, '$[2]') AND uuid = json_extract(asked.value, '$[3]'))
                  AND ({types}){conditions}
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """,
    ),
    # OFFSET 0 does the same.
    "postgresql": _Sql(
        value="%s",
        moment="%s::timestamptz",
        published="""to_char(published AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
        rows="""
            SELECT {columns}
            FROM jsonb_array_elements(%s::jsonb) AS stretch
            CROSS JOIN LATERAL (
                SELECT * FROM history
                WHERE org = %s AND {column} IN (SELECT jsonb_array_elements_text(stretch -> 2))
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
        self._columns = ", ".join((self._sql.published, *_COLUMNS[1:]))

    def version(self) -> str | None:
        """Give what changes whenever rows are added, by whomever."""
        found: str | None = self._connection.execute(_VERSION, {"org": self._org}).scalar_one()
        return found

    def add(self, rows: Sequence[HistoryRow]) -> str | None:
        """Remember rows; what is remembered already stays as it is. Gives the version from now on."""
        values = [row.columns for row in rows]
        if not insert_new_of(self._connection, tables.history, self._org, values):
            return self.version()
        # Drawn, not counted: after a rollback another writer must not come to the same version.
        version = secrets.token_hex(8)
        self._connection.execute(_SET_VERSION, {"named": self._org, "version": version})
        return version

    def between(self, since: str, until: str, *, limit: int) -> list[HistoryRow] | None:
        """Give every row of a stretch of time, both ends included; None when that is more than ``limit``."""
        sql = self._sql
        stretch = f"FROM history WHERE org = {sql.value} AND published BETWEEN {sql.moment} AND {sql.moment}"
        # Counting goes by the key alone and costs a fraction of reading.
        counted = f"SELECT count(*) FROM (SELECT 1 {stretch} LIMIT {limit + 1}) AS few"  # noqa: S608 -- a number, and this method's own text
        [(count,)] = self._run(counted, self._org, since, until)
        if count > limit:
            return None
        selected = f"SELECT {self._columns} {stretch}"
        return [_row(row) for row in self._run(selected, self._org, since, until)] if count else []

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> list[HistoryRow]:
        """Give every row whose ``column`` has one of a stretch's values within that stretch."""
        statement = self._sql.rows.format(columns=self._columns, column=_known(column))
        asked = [(since, until, sorted(values)) for since, until, values in stretches]
        return [_row(row) for row in self._run(statement, to_json(asked), self._org)]

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
        # "is_proxy = …" would not tell the planner that the index of proxied events has all that is asked.
        tests = (
            f" AND {'' if value else 'NOT '}{_known(name)}"
            if isinstance(value, bool)
            else f" AND {_known(name)} = {self._sql.value}"
            for name, value in conditions.items()
        )
        by_actor = column == "actor_id" and conditions.get("is_proxy") is True
        statement = self._sql.seen.format(
            column=_known(column),
            types=types,
            conditions="".join(tests),
            indexed="INDEXED BY ix_history_proxied" if by_actor else "",
        )
        texts = [value for value in conditions.values() if not isinstance(value, bool)]
        values = (self._org, *type_values, *texts, to_json(asked))
        return [bool(found) for (found,) in self._run(statement, *values)]

    def began(self, event_types: Sequence[str]) -> str | None:
        """Give the earliest ``published`` of these event types that is remembered; None for none at all.

        Where earlier ones were pruned: the time from which on all are remembered, if that is earlier.
        """
        types, values = self._types(event_types)
        # In order of the primary key, stopping at the first: min() would read the whole table.
        remembered = f"""
            SELECT {self._sql.published} FROM history
            WHERE org = {self._sql.value} AND ({types}) ORDER BY history.published LIMIT 1
        """  # noqa: S608 -- column names alone, and only the table's own
        pruned = f"""
            SELECT {self._sql.published} FROM (
                SELECT min(before) AS published FROM pruned_history WHERE org = {self._sql.value} AND ({types})
            ) AS noted WHERE published IS NOT NULL
        """  # noqa: S608 -- likewise
        both = [*self._run(remembered, self._org, *values), *self._run(pruned, self._org, *values)]
        return min((published for (published,) in both), default=None)

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
