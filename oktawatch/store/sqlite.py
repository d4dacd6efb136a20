"""The SQLite back end: one file, one writer at a time.

A write transaction locks the whole database with its first statement (``BEGIN IMMEDIATE``), so that it needs no
lock on the org's row.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Engine, Row, Select, Table, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from oktawatch.store.backend import LOCK_DEADLINE_S, LOCK_SLICE_S, NOTHING, retry_while_busy, to_json
from oktawatch.store.errors import DatabaseReplacedError, MissingDatabaseError, StoreError

_OLDEST = (3, 35)  # the first version with RETURNING
_FILE = "oktawatch_file"  # key in a connection's info for the device and inode of its file
_PRAGMAS = (
    "synchronous = NORMAL",
    "foreign_keys = ON",
    # A page of 1,000 sign-ins changes 4 MB of `sightings`. With SQLite's defaults, they would be written out and read back
    # within the transaction (2 MB of cache), and copied from the WAL into the file after each transaction (4 MB of WAL).
    "cache_size = -8000",  # KB
    "wal_autocheckpoint = 4000",  # pages of 4 KB
)
_CHECK_EVERY = 10_000  # instructions of SQLite's virtual machine, a fraction of a millisecond

# For each value that is neither a number nor a string, the driver looks up an adapter. A failed look-up is slow, so these
# adapters speed up rows with None and booleans.
sqlite3.register_adapter(type(None), lambda nothing: nothing)
sqlite3.register_adapter(bool, int)


class Sqlite:
    """A file, or an in-memory database (``sqlite://``)."""

    connections = 1

    def __init__(self, url: URL, *, create: bool) -> None:
        """Raise StoreError if SQLite is too old or, without ``create``, if the file does not exist."""
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(
                f"this Python's SQLite is {sqlite3.sqlite_version}: oktawatch needs 3.35 or newer, "
                "use a newer Python or distribution"
            )
        if url.database and not create and not Path(url.database).exists():
            raise MissingDatabaseError(
                f"there is no database at {url.database}: run 'oktawatch run' or 'oktawatch db upgrade'"
            )
        self._url = url

    def engine(self, *, stopping: threading.Event) -> Engine:  # noqa: ARG002 -- a file has no server to wait for
        """Build the engine without connecting."""
        arguments: dict[str, Any] = {"timeout": LOCK_SLICE_S}
        options: dict[str, Any] = {}
        if self._url.database in {None, "", ":memory:"}:
            arguments["check_same_thread"] = False
            options["poolclass"] = StaticPool
        engine = create_engine(
            self._url,
            connect_args=arguments,
            json_serializer=to_json,
            json_deserializer=msgspec.json.decode,
            **options,
        )
        event.listen(engine, "connect", self._prepare)
        return engine

    def begin(self, connection: Connection, *, write: bool, stopping: threading.Event) -> None:
        """Begin a transaction. A write waits for the database's lock."""
        _interrupt_when(None, connection)
        self._require_same_file(connection)
        if write:
            retry_while_busy(
                lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), busy=_is_busy, stopping=stopping
            )
        else:
            connection.exec_driver_sql("BEGIN")

    def lock_row(
        self,
        connection: Connection,
        lock: Select[Any],
        values: Mapping[str, Any],
        *,
        stopping: threading.Event,  # noqa: ARG002 -- the write has its lock already
    ) -> Row[Any] | None:
        """Read the row. The write transaction has locked the whole database."""
        return connection.execute(lock, values).first()

    def lock_schema(self, connection: Connection, *, stopping: threading.Event) -> None:
        """Make the transaction end when ``stopping`` is set. It already has the lock, and may rewrite a large table."""
        _interrupt_when(stopping, connection)

    def lock(self, connection: Connection, name: str, *, stopping: threading.Event) -> None:
        """Do nothing: the transaction already has the lock."""

    def insert_new(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
    ) -> int:
        """Insert rows with one statement per row."""
        converters = _converters(table, columns, connection.dialect)
        converted = [
            tuple(
                [convert(value) if convert else value for convert, value in zip(converters, row, strict=True)]
            )
            for row in rows
        ]
        return _insert(connection, table, columns, converted)

    def insert_for_org(
        self,
        connection: Connection,
        table: Table,
        org: str,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
        on_conflict: str,
    ) -> int:
        """Insert rows with one statement per row."""
        return _insert(connection, table, columns, [(org, *row) for row in rows], on_conflict)

    def find_damage(self, connection: Connection, *, within_s: float) -> str | None:
        """Run SQLite's quick check for up to ``within_s``. It covers only a part of a large file."""
        deadline = time.monotonic() + within_s
        driver_connection: Any = connection.connection.driver_connection
        driver_connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_EVERY)
        try:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except DBAPIError as error:
            if _code(error.orig) == sqlite3.SQLITE_INTERRUPT:
                return None
            raise
        return None if found == "ok" else str(found)

    def is_damage(self, error: DBAPIError) -> bool:
        """Return whether the file is malformed or not a database."""
        return _code(error.orig) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

    def is_failed_write(self, error: DBAPIError) -> bool:
        """Return whether the disk is full or faulty, or the file can only be read."""
        return _code(error.orig) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}

    def explain(self, error: DBAPIError) -> str:
        """Return SQLite's message, which contains no values of rows."""
        return str(error.orig)

    def _prepare(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver must not begin transactions: `begin` does
        _write_ahead(connection)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        record.info[_FILE] = self._identity()

    def _require_same_file(self, connection: Connection) -> None:
        """Raise DatabaseReplacedError if the path no longer leads to the connection's open file.

        The open file keeps its inode, so no other file can get the same number.
        """
        opened = connection.info.get(_FILE)
        if opened is not None and opened != self._identity():
            raise DatabaseReplacedError(
                f"the database's file was deleted or replaced while it was open ({self._url.database}): "
                "stop oktawatch before moving or restoring it; start it again to use the current file"
            )

    def _identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the path's file, or None in memory or without a file."""
        if self._url.database in {None, "", ":memory:"}:
            return None
        try:
            found = Path(self._url.database or "").stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _interrupt_when(stopping: threading.Event | None, connection: Connection) -> None:
    """Interrupt the connection's statements once ``stopping`` is set. None: never interrupt them."""
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.set_progress_handler(stopping and stopping.is_set, _CHECK_EVERY)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Enable write-ahead logging. Retry, because SQLite doesn't wait when two processes do this at once."""
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _says_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0, LOCK_SLICE_S / 5))  # noqa: S311 -- random, so that the processes don't collide again
        else:
            return


def _is_busy(error: DBAPIError) -> bool:
    return _says_busy(error.orig)


def _says_busy(error: BaseException | None) -> bool:
    return _code(error) == sqlite3.SQLITE_BUSY


def _code(error: BaseException | None) -> int | None:
    """Return SQLite's primary error code."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _insert(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    on_conflict: str = NOTHING,
) -> int:
    return connection.exec_driver_sql(_statement(table, columns, on_conflict), rows).rowcount


@lru_cache(maxsize=64)
def _statement(table: Table, columns: tuple[str, ...], on_conflict: str) -> str:
    values = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({values}) ON CONFLICT {on_conflict}"  # noqa: S608 -- the tables' own names


@lru_cache(maxsize=64)
def _converters(
    table: Table, columns: tuple[str, ...], dialect: Dialect
) -> list[Callable[[Any], Any] | None]:
    """Return the function that converts a value of each column for the driver. None: no conversion."""
    return [table.columns[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
