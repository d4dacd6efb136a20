"""Bulk inserts that pass over what is there already: one statement a table and page.

SQLAlchemy's Core builds a dictionary and runs a processor a row and column; for a thousand events a
page that costs more than the insert itself. Here the statement is made once and the driver gets the
rows as they are, in the way that each database takes quickest.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from oktawatch.store.backend import NOTHING, Backend


def insert_new(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...]
) -> int:
    """Insert rows, leaving out those whose key is there; give how many went in.

    ``columns``: what a row's values are, to be converted as the columns' types say.
    """
    return _backend(connection).insert_new(connection, table, rows, columns)


def insert_of(
    connection: Connection,
    table: Table,
    org: str,
    rows: Sequence[tuple[Any, ...]],
    *,
    columns: tuple[str, ...],
    otherwise: str = NOTHING,
) -> int:
    """Insert rows of one org; give how many went in. They hold values that both databases read as they are.

    ``columns``: the org, and what a row's values are. ``otherwise``: what becomes of one whose key is there.
    """
    return _backend(connection).insert_of(connection, table, org, rows, columns, otherwise)


def _backend(connection: Connection) -> Backend:
    backend: Backend = connection.get_execution_options()["oktawatch_backend"]
    return backend
