"""A database: connections and transactions.

A write transaction first locks the whole database on SQLite. On Postgres, it first locks what it is about to change,
usually the org's row. Only then does it read what other writers may change. When the program stops, a transaction
that waits for this lock is abandoned at once. A transaction that holds the lock may finish.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from oktawatch.model.timestamps import utc_now
from oktawatch.store import crashpoints
from oktawatch.store.backend import Backend
from oktawatch.store.errors import DamagedDatabaseError, StoppedError, StoreError, WriteFailedError
from oktawatch.store.sqlite import Sqlite


class Database:
    """An SQLite file, an in-memory SQLite database (``sqlite://``) or a Postgres server.

    Once ``stopping`` is set, a write that waits for its lock raises StoppedError. Raises StoreError if the
    URL can't be used or, without ``create``, if the file does not exist.
    """

    def __init__(self, url: str, *, create: bool = False, stopping: threading.Event | None = None) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError:
            raise StoreError(
                "database.url is not a database URL: expected a URL such as sqlite:///oktawatch.db"
            ) from None
        self._stopping = stopping or threading.Event()
        self._backend: Backend
        match self.url.get_backend_name():
            case "sqlite":
                self._backend = Sqlite(self.url, create=create)
            case "postgresql":
                from oktawatch.store.postgres import Postgres  # noqa: PLC0415 -- psycopg is slow to import

                self._backend = Postgres(self.url)
            case other:
                raise StoreError(
                    f"database.url: {other} is not supported: use sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
                )
        self._engine = self._backend.engine(stopping=self._stopping).execution_options(
            oktawatch_backend=self._backend
        )
        event.listen(self._engine, "begin", self._begin)
        crashpoints.arm(self._engine)

    @property
    def shared(self) -> bool:
        """Whether other machines can use the database."""
        return self.url.get_backend_name() != "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file. None for a database in memory or on a server."""
        in_memory = self.url.database in {None, "", ":memory:"}
        return None if self.shared or in_memory else Path(self.url.database or "").resolve()

    @property
    def place(self) -> str:
        """The location to show to people: a file's path, or a server's URL without password and options."""
        if not self.shared:
            return self.url.database or "in memory"
        return self.url.difference_update_query(self.url.query).render_as_string()

    @property
    def connections(self) -> int:
        """The useful number of concurrent transactions."""
        return self._backend.connections

    def now(self) -> datetime:
        """Return the time of the clock that all users of the database share.

        This is the server's clock on Postgres and this machine's on SQLite.
        """
        if not self.shared:
            return utc_now()
        with self.read() as connection:
            now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
            return now

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction, which is committed at the end or rolled back on any error."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read-only transaction, which sees a consistent snapshot of the database."""
        with self._transaction(write=False) as connection:
            yield connection

    def lock_row(
        self, connection: Connection, lock: Select[Any], values: Mapping[str, Any]
    ) -> Row[Any] | None:
        """Lock a row for a write with ``SELECT … FOR UPDATE``; return the row, or None if there is none.

        Raises StoppedError if the program stops during the wait. Values read before the lock may be outdated, so read
        everything that matters afterwards.
        """
        return self._backend.lock_row(connection, lock, values, stopping=self._stopping)

    def lock_schema(self, connection: Connection) -> None:
        """Lock the schema against changes by other processes until this write ends. Call this first."""
        self._backend.lock_schema(connection, stopping=self._stopping)

    def lock(self, connection: Connection, name: str) -> None:
        """Acquire a named lock, which is released at the end of this write. Call this before reading what it protects."""
        self._backend.lock(connection, name, stopping=self._stopping)

    def require_undamaged(self, *, within_s: float) -> None:
        """Check for damage for up to ``within_s``; raise DamagedDatabaseError if there is any."""
        with self.read() as connection:
            found = self._backend.find_damage(connection, within_s=within_s)
        if found is not None:
            raise self._damage(" ".join(found.split()))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        try:
            with self._begin_or_reconnect(write=write) as connection:
                yield connection
        except DBAPIError as error:
            if self._stopping.is_set():
                raise StoppedError("stopping: the transaction was abandoned") from error
            why = self._backend.explain(error)
            if self._backend.is_damage(error):
                raise self._damage(why) from error
            kind = WriteFailedError if self._backend.is_failed_write(error) else StoreError
            raise kind(self._refusal(why)) from error
        except PoolTimeoutError as error:
            raise StoreError(self._refusal("every connection is in use")) from error

    def _damage(self, what: str) -> DamagedDatabaseError:
        return DamagedDatabaseError(
            f"the database is damaged ({self.place}): {what}; restore a backup, or move the file away, start "
            "again and run 'oktawatch backfill'"
        )

    def _refusal(self, why: str) -> str:
        return f"the database refused ({self.place}): {why}"

    @contextmanager
    def _begin_or_reconnect(self, *, write: bool) -> Iterator[Connection]:
        with ExitStack() as stack:
            try:
                connection = self._open(stack, write=write)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # The server closed the pooled connection. The transaction has not begun, so retry with a new one.
                stack.close()
                connection = self._open(stack, write=write)
            yield connection

    def _open(self, stack: ExitStack, *, write: bool) -> Connection:
        connection = stack.enter_context(self._engine.connect()).execution_options(oktawatch_write=write)
        stack.enter_context(connection.begin())
        return connection

    def _begin(self, connection: Connection) -> None:
        write = connection.get_execution_options()["oktawatch_write"]
        self._backend.begin(connection, write=write, stopping=self._stopping)
