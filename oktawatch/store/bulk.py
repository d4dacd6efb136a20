"""Bulk inserts that pass over what is there already: one statement a table and page.

SQLAlchemy's Core builds a dictionary and runs a processor a row and column; for a thousand events a
page that costs more than the insert itself. Here the statement is made once and the driver gets the
rows as they are.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table


def insert_new(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...] = ()
) -> int:
    """Insert rows, leaving out those whose key is there; give how many went in.

    ``columns``: what a row's values are, to be converted as the columns' types say. Without it rows
    hold every column in the driver's own types and go through untouched.
    """
    if not rows:
        return 0
    if columns:
        rows = _converted(table, columns, rows, connection.dialect)
    statement = _statement(table, columns or tuple(column.name for column in table.columns))
    return connection.exec_driver_sql(statement, list(rows)).rowcount


@lru_cache(maxsize=64)
def _statement(table: Table, columns: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 -- names come from tables.py


def _converted(
    table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], dialect: Dialect
) -> list[tuple[Any, ...]]:
    convert: list[Callable[[Any], Any] | None] = [
        table.columns[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns
    ]
    return [
        tuple(one(value) if one else value for one, value in zip(convert, row, strict=True)) for row in rows
    ]
