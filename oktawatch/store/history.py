"""The past of one org as detections ask for it: one statement a question, however much is asked.

What is asked goes to the database as one JSON document and is joined there, so that neither the number
of statements nor their text grows with a page.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch
from oktawatch.store import tables
from oktawatch.store.bulk import insert_new

_COLUMNS = tuple(column.name for column in tables.history.columns if column.name != "org")
_SELECTED = ", ".join(f"history.{name}" for name in _COLUMNS)


class StoredHistory:
    """Answers detections' questions about one org, within a page's transaction."""

    def __init__(self, connection: Connection, org: str) -> None:
        self._connection = connection
        self._org = org

    def add(self, rows: Sequence[HistoryRow]) -> None:
        """Remember rows; what is remembered already stays as it is."""
        insert_new(self._connection, tables.history, [(self._org, *row.columns) for row in rows])

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> Iterator[HistoryRow]:
        """Give every row whose ``column`` has one of a stretch's values within that stretch."""
        # CROSS JOIN and INDEXED BY keep to the way from what is asked to the index: the planner, which
        # knows nothing of what is asked, would rather read the table's stretch of time.
        statement = f"""
            SELECT {_SELECTED}
            FROM json_each(?) AS stretch
            CROSS JOIN json_each(stretch.value, '$[2]') AS wanted
            CROSS JOIN history INDEXED BY ix_history_org_{_known(column)}
            WHERE history.org = ? AND history.{column} = wanted.value
              AND history.published BETWEEN json_extract(stretch.value, '$[0]') AND json_extract(stretch.value, '$[1]')
        """  # noqa: S608 -- column names alone, and only the table's own
        asked = [(since, until, sorted(values)) for since, until, values in stretches]
        for row in self._run(statement, _json(asked), self._org):
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
        types, type_values = _types(event_types)
        wanted = "".join(f" AND history.{_known(name)} = ?" for name in conditions)
        statement = f"""
            SELECT EXISTS (
                SELECT 1 FROM history INDEXED BY ix_history_org_{_known(column)}
                WHERE history.org = ? AND history.{column} = json_extract(asked.value, '$[0]')
                  AND history.published BETWEEN json_extract(asked.value, '$[1]') AND json_extract(asked.value, '$[2]')
                  AND NOT (history.published = json_extract(asked.value, '$[2]') AND history.uuid = json_extract(asked.value, '$[3]'))
                  AND ({types}){wanted}
            )
            FROM json_each(?) AS asked ORDER BY asked.key
        """  # noqa: S608 -- as above
        values = (self._org, *type_values, *conditions.values(), _json(asked))
        return [bool(found) for (found,) in self._run(statement, *values)]

    def began(self, event_types: Sequence[str]) -> str | None:
        """Give the earliest ``published`` of these event types that is remembered; None for none at all."""
        types, values = _types(event_types)
        # In order of the primary key, stopping at the first: min() would read the whole table.
        statement = f"""
            SELECT published FROM history WHERE org = ? AND ({types}) ORDER BY published LIMIT 1
        """  # noqa: S608 -- as above
        return next((published for (published,) in self._run(statement, self._org, *values)), None)

    def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(statement, values).all()


def _known(name: str) -> str:
    """Give the column's name; raise KeyError for what is no column: names stand in the statement's text."""
    return tables.history.c[name].name


def _types(event_types: Sequence[str]) -> tuple[str, list[str]]:
    names = [name for name in event_types if not name.endswith("*")]
    prefixes = [name[:-1] for name in event_types if name.endswith("*")]
    tests = [f"event_type IN ({', '.join('?' * len(names))})"] if names else []
    tests += ["substr(event_type, 1, length(?)) = ?" for _ in prefixes]
    return " OR ".join(tests) or "1 = 0", [*names, *(prefix for prefix in prefixes for _ in range(2))]


def _row(values: Sequence[Any]) -> HistoryRow:
    row = HistoryRow(*values)
    row.is_proxy = None if row.is_proxy is None else bool(row.is_proxy)  # SQLite has no truth, only 1 and 0
    return row


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
