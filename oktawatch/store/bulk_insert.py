"""Bulk inserts that skip or change existing rows: one call of the driver per table and page.

SQLAlchemy Core builds a dictionary for each row and runs a processor for each column, which costs more than
the insert itself. Here the statement is cached, and the driver gets the rows in the form that is fastest for
each database.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from oktawatch.store.backend import NOTHING, Backend


def insert_new(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...]
) -> int:
    """Insert rows, skipping those whose key exists; return how many were inserted.

    ``columns`` names the columns of a row's values, which are converted to the columns' types.
    """
    return _backend(connection).insert_new(connection, table, rows, columns) if rows else 0


def insert_for_org(
    connection: Connection,
    table: Table,
    org: str,
    rows: Sequence[tuple[Any, ...]],
    *,
    columns: tuple[str, ...],
    on_conflict: str = NOTHING,
) -> int:
    """Insert rows of one org without converting their values; return how many were inserted or updated.

    ``columns`` names the org's column, then those of a row's values. ``on_conflict`` is the SQL after ``ON CONFLICT``.
    """
    return (
        _backend(connection).insert_for_org(connection, table, org, rows, columns, on_conflict) if rows else 0
    )


def _backend(connection: Connection) -> Backend:
    backend: Backend = connection.get_execution_options()["oktawatch_backend"]
    return backend
