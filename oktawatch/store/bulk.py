"""Bulk inserts that pass over what is there already: one statement a table and page.

SQLAlchemy's Core builds a dictionary and runs a processor a row and column; for a thousand events a
page that costs more than the insert itself. Here the statement is made once and the driver gets the
rows as they are, some hundred a step: stepping through one row at a time takes SQLite twice as long.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table

_AT_ONCE = 200  # rows a step; SQLite takes 32,766 values, and the widest table has some thirty columns


def insert_new(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...] = ()
) -> int:
    """Insert rows, leaving out those whose key is there; give how many went in.

    ``columns``: what a row's values are, to be converted as the columns' types say. Without it rows
    hold every column in the driver's own types and go through untouched.
    """
    if columns:
        rows = _converted(table, columns, rows, connection.dialect)
    names = columns or tuple(column.name for column in table.columns)
    new = 0
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        values = tuple(chain.from_iterable(rows[start : start + _AT_ONCE]))
        new += connection.exec_driver_sql(_statement(table, names, _AT_ONCE), values).rowcount
    if whole < len(rows):
        new += connection.exec_driver_sql(_statement(table, names, 1), list(rows[whole:])).rowcount
    return new


@lru_cache(maxsize=64)
def _statement(table: Table, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    into = f"INSERT INTO {table.name} ({', '.join(columns)})"
    return f"{into} VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"


def _converted(
    table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], dialect: Dialect
) -> list[tuple[Any, ...]]:
    convert: list[Callable[[Any], Any] | None] = [
        table.columns[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns
    ]
    return [
        tuple(one(value) if one else value for one, value in zip(convert, row, strict=True)) for row in rows
    ]
