"""One database: connections, and the two kinds of transaction.

A *write* is one transaction, whole or not at all. What it must not miss of other writers it reads after
it has taken its first lock: the whole database on SQLite, the org's row on Postgres. Waiting for that
lock ends at once when the program stops: a transaction that waits has not begun. One that has begun is
finished.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from oktawatch.model.timestamps import utc_now
from oktawatch.store import crashpoints
from oktawatch.store.backend import Backend
from oktawatch.store.errors import DamagedDatabaseError, StoppedError, StoreError, WriteFailedError
from oktawatch.store.postgres import Postgres
from oktawatch.store.sqlite import Sqlite


class Database:
    """A SQLite file, a database in memory (``sqlite://``) for what must leave no trace, or a Postgres server.

    ``stopping``: once set, a write that waits for its lock gives up with StoppedError.
    Raises StoreError when the URL can't be used or, unless ``create``, when there is no such file.
    """

    def __init__(self, url: str, *, create: bool = False, stopping: threading.Event | None = None) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError:
            raise StoreError(
                "database.url is no database URL: expected one such as sqlite:///oktawatch.db"
            ) from None
        self._stopping = stopping or threading.Event()
        self._backend: Backend
        match self.url.get_backend_name():
            case "sqlite":
                self._backend = Sqlite(self.url, create=create)
            case "postgresql":
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
        """Whether other machines may use it too."""
        return self.url.get_backend_name() != "sqlite"

    @property
    def place(self) -> str:
        """Say for people where it is: a file's path, or a server's URL without password and options."""
        if not self.shared:
            return self.url.database or "in memory"
        return self.url.difference_update_query(self.url.query).render_as_string()

    @property
    def connections(self) -> int:
        """How many transactions are worth having at once."""
        return self._backend.connections

    def now(self) -> datetime:
        """Return the time by the clock that all users of the database share.

        On Postgres it is the server's clock, on SQLite this machine's.
        """
        if not self.shared:
            return utc_now()
        with self.read() as connection:
            now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
            return now

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one write transaction: committed at the end, rolled back whole on any error."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one transaction that only reads, and sees one state of the database."""
        with self._transaction(write=False) as connection:
            yield connection

    def take(self, connection: Connection, lock: Select[Any], values: Mapping[str, Any]) -> Row[Any] | None:
        """Take a row that a write needs to itself by a ``SELECT … FOR UPDATE``; give it.

        Nothing may have been written before it: it raises StoppedError when the program stops first. What
        was read before it may be of yesterday by now, so whatever is decided by is read afterwards.
        """
        return self._backend.take(connection, lock, values, stopping=self._stopping)

    def hold_schema(self, connection: Connection) -> None:
        """Let no other process change the schema until this write ends; it must not have begun to work."""
        self._backend.hold_schema(connection, stopping=self._stopping)

    def hold(self, connection: Connection, what: str) -> None:
        """Let no other process hold the same until this write ends; it must not have begun to work."""
        self._backend.hold(connection, what, stopping=self._stopping)

    def require_undamaged(self, *, within_s: float) -> None:
        """Look for damage for some seconds; raise DamagedDatabaseError when there is any."""
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
            with self._begun(write=write) as connection:
                yield connection
        except DBAPIError as error:
            if self._stopping.is_set():
                raise StoppedError("stopping: the transaction was given up") from error
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
    def _begun(self, *, write: bool) -> Iterator[Connection]:
        with ExitStack() as stack:
            try:
                connection = self._open(stack, write=write)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # The server ended connections while they lay in the pool. Nothing has begun: once more, anew.
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
