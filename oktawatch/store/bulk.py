"""Bulk inserts that pass over what is there already: one statement a table and page.

SQLAlchemy's Core builds a dictionary and runs a processor a row and column; for a thousand events a
page that costs more than the insert itself. Here the statement is made once and the driver gets the
rows as they are, in the way that each database takes quickest.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from oktawatch.store.backend import Backend


def insert_new(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...]
) -> int:
    """Insert rows, leaving out those whose key is there; give how many went in.

    ``columns``: what a row's values are, to be converted as the columns' types say.
    """
    return _backend(connection).insert_new(connection, table, rows, columns)


def insert_new_of(connection: Connection, table: Table, org: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows of one org like that. They hold every column but the org, as values that both databases read."""
    return _backend(connection).insert_new_of(connection, table, org, rows)


def _backend(connection: Connection) -> Backend:
    backend: Backend = connection.get_execution_options()["oktawatch_backend"]
    return backend
