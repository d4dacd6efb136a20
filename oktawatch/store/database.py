"""One database: connections, and the two kinds of transaction.

A *write* is one transaction that holds the database's write lock from its first statement
(``BEGIN IMMEDIATE`` on SQLite), so that nothing it read can have changed when it writes. Waiting for
that lock ends at once when the program stops: a transaction that waits has not begun. One that has
begun is finished.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from oktawatch.store.errors import StoppedError, StoreError

_WRITE = {"oktawatch_write": True}
_OLDEST_SQLITE = (3, 35)  # RETURNING
_BUSY_SLICE = 0.25  # seconds that SQLite itself waits for a lock; between two slices we look whether to stop
_BUSY_DEADLINE = 30.0  # seconds after which a lock that never comes is an error


class Database:
    """A SQLite file, or a database in memory (``sqlite://``) for what must leave no trace.

    ``stopping``: once set, a write that waits for its lock gives up with StoppedError.
    Raises StoreError when the URL can't be used or, unless ``create``, when there is no such file.
    """

    def __init__(self, url: str, *, create: bool = False, stopping: threading.Event | None = None) -> None:
        self.url = _checked(url, create=create)
        self._stopping = stopping or threading.Event()
        in_memory = self.url.database in {None, "", ":memory:"}
        arguments: dict[str, Any] = {"timeout": _BUSY_SLICE}
        if in_memory:
            arguments["check_same_thread"] = False
        self._engine = create_engine(
            self.url,
            connect_args=arguments,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            **({"poolclass": StaticPool} if in_memory else {}),
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", self._begin)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one write transaction: committed at the end, rolled back whole on any error."""
        with (
            _explained(),
            self._engine.connect().execution_options(**_WRITE) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one transaction that only reads, and sees one state of the database."""
        with _explained(), self._engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _begin(self, connection: Connection) -> None:
        if not connection.get_execution_options().get("oktawatch_write"):
            connection.exec_driver_sql("BEGIN")
            return
        deadline = time.monotonic() + _BUSY_DEADLINE
        while True:
            if self._stopping.is_set():
                raise StoppedError("stopping: the transaction had not begun")
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            else:
                return


def _checked(url: str, *, create: bool) -> URL:
    try:
        made = make_url(url)
    except ArgumentError:
        raise StoreError(
            "database.url is no database URL: expected one such as sqlite:///oktawatch.db"
        ) from None
    if made.get_backend_name() != "sqlite":
        raise StoreError(f"database.url: {made.get_backend_name()} is not supported yet: use sqlite:///FILE")
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"this Python's SQLite is {sqlite3.sqlite_version}: oktawatch needs 3.35 or newer, "
            "use a newer Python or distribution"
        )
    if made.database and not create and not Path(made.database).exists():
        raise StoreError(
            f"there is no database at {made.database}: run 'oktawatch run' or 'oktawatch db upgrade'"
        )
    return made


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin does
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _is_busy(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the driver says into what a person can do."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"the database refused: {error.orig}") from error
