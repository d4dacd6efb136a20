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
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...] = ()
) -> int:
    """Insert rows, leaving out those whose key is there; give how many went in.

    ``columns``: what a row's values are, to be converted as the columns' types say. Without it rows
    hold every column as text that both databases read, and go through untouched.
    """
    backend: Backend = connection.get_execution_options()["oktawatch_backend"]
    return backend.insert_new(connection, table, rows, columns)
