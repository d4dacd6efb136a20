"""The Postgres back end, for several processes or machines.

No state outlives a transaction, so that a transaction pooler such as PgBouncer can be used: no prepared
statements, session settings, session-level advisory locks or temporary tables. A transaction's settings are
local to it and part of the message that begins it.

Bulk inserts send one array per column, as text. This is faster than arrays built by the driver, rows of VALUES,
or COPY into a temporary table, which would also grow the system catalogs with each page.
"""

import re
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Integer,
    LargeBinary,
    Row,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.store import answer_deadline
from oktawatch.store.answer_deadline import AnswerDeadline, answer_within
from oktawatch.store.backend import LOCK_DEADLINE_S, LOCK_SLICE_S, NOTHING, retry_while_busy, to_json
from oktawatch.store.types import Document

_CONNECTIONS = 5
SCHEMA_LOCK = 0x6F6B7461  # "okta"
"""The number of the advisory lock for schema changes, and the first number of all named locks."""
_LOCK = select(func.pg_advisory_xact_lock(SCHEMA_LOCK, bindparam("number", type_=Integer)))
_IDLE_TIMEOUT_S = 15  # after which the server ends an idle transaction, whose client may be gone
# Without this, times in year 1 could not be converted from some servers' time zones.
_SETTINGS = "SET LOCAL TimeZone = 'UTC'"
_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SETTINGS}"
_WRITE = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; {_SETTINGS}; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_TIMEOUT_S}s'; "
    f"SET LOCAL lock_timeout = '{LOCK_DEADLINE_S:.0f}s'"
)
_WAIT = f"SET LOCAL lock_timeout = '{LOCK_SLICE_S * 1000:.0f}ms'; SAVEPOINT waiting"
_LOCK_NOT_AVAILABLE = "55P03"
_DISK_FULL = "53100"
_READ_ONLY = "25006"
_CONNECT = {
    "autocommit": True,  # the driver must not begin transactions: `begin` does
    "prepare_threshold": None,
    "application_name": "oktawatch",
    "connect_timeout": 10,
    # Detect a vanished server in half a minute instead of two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Postgres:
    """A Postgres server, through psycopg 3."""

    connections = _CONNECTIONS

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")

    def engine(self, *, stopping: threading.Event) -> Engine:
        """Build the engine without connecting."""
        deadline = AnswerDeadline(stopping)
        arguments = {name: value for name, value in _CONNECT.items() if name not in self._url.query}
        engine = create_engine(
            self._url,
            connect_args=arguments,
            json_serializer=to_json,
            json_deserializer=msgspec.json.decode,
            use_native_hstore=False,
            pool_size=_CONNECTIONS,
            max_overflow=0,
        )
        event.listen(engine, "handle_error", _disconnect_from_read_only_server)
        event.listen(engine, "checkin", _close_read_only_connection)
        event.listen(
            engine,
            "do_connect",
            lambda _dialect, _record, positional, named: deadline.connect(*positional, **named),
        )
        return engine

    def begin(self, connection: Connection, *, write: bool, stopping: threading.Event) -> None:  # noqa: ARG002 -- beginning does not wait for a lock
        """Begin a transaction."""
        answer_within(connection, answer_deadline.BEGIN_WITHIN_S)
        connection.exec_driver_sql(_WRITE if write else _READ)
        answer_within(connection, answer_deadline.ANSWER_WITHIN_S)

    def lock_row(
        self,
        connection: Connection,
        lock: Select[Any],
        values: Mapping[str, Any],
        *,
        stopping: threading.Event,
    ) -> Row[Any] | None:
        """Lock the row. Afterwards, the transaction waits up to `LOCK_DEADLINE_S` for further locks."""
        connection.exec_driver_sql(_WAIT)
        statement = _locking(lock)

        def attempt() -> Row[Any] | None:
            try:
                return connection.execute(statement, values).first()
            except DBAPIError as error:
                if _is_busy(error):
                    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT waiting")
                raise

        return retry_while_busy(attempt, busy=_is_busy, stopping=stopping)

    def lock_schema(self, connection: Connection, *, stopping: threading.Event) -> None:
        """Acquire an advisory lock, and allow long statements from then on."""
        answer_within(connection, answer_deadline.MIGRATE_WITHIN_S)
        self.lock_row(connection, select(func.pg_advisory_xact_lock(SCHEMA_LOCK)), {}, stopping=stopping)

    def lock(self, connection: Connection, name: str, *, stopping: threading.Event) -> None:
        """Acquire an advisory lock. Names with the same checksum share a lock, which can only cause needless waits."""
        number = zlib.crc32(name.encode()) - 2**31  # Postgres integers are signed
        self.lock_row(connection, _LOCK, {"number": number}, stopping=stopping)

    def insert_new(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
    ) -> int:
        """Insert all rows in one statement."""
        return _insert(connection, table, columns, rows, [_text_of(table, name) for name in columns])

    def insert_for_org(
        self,
        connection: Connection,
        table: Table,
        org: str,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
        on_conflict: str,
    ) -> int:
        """Insert all rows in one statement that contains the org once."""
        texts = [_text] * (len(columns) - 1)
        return _insert(connection, table, columns, rows, texts, org, on_conflict=on_conflict)

    def find_damage(self, connection: Connection, *, within_s: float) -> None:
        """Return None: the server checks its own files."""

    def is_damage(self, error: DBAPIError) -> bool:  # noqa: ARG002 -- no error of a server shows damage
        """Return False: the server's administrator takes care of its files."""
        return False

    def is_failed_write(self, error: DBAPIError) -> bool:
        """Return whether the server's disk is full, or the server or connection is read-only."""
        return getattr(error.orig, "sqlstate", None) in {_DISK_FULL, _READ_ONLY}

    def explain(self, error: DBAPIError) -> str:
        """Return the first line of the server's message. The following lines can contain values of rows."""
        diagnosis = getattr(error.orig, "diag", None)
        primary = getattr(diagnosis, "message_primary", None)
        return primary or " ".join(str(error.orig).split())


@lru_cache(maxsize=16)
def _locking(lock: Select[Any]) -> Select[Any]:
    """Build the statement that acquires a lock and, in the same message, increases the lock timeout."""
    locked = lock.cte("locked")
    patience = func.set_config("lock_timeout", f"{LOCK_DEADLINE_S:.0f}s", True)
    return select(*locked.columns, patience).select_from(locked)


def _is_busy(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _disconnect_from_read_only_server(context: ExceptionContext) -> None:
    """Close connections to a server that is no longer the primary, because the URL may also list the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _close_read_only_connection(connection: Any, record: ConnectionPoolEntry) -> None:
    """Close a connection that was opened while the server was read-only: the connection would stay read-only.

    Servers from version 14 on report the setting without a query.
    """
    if connection is not None and connection.info.parameter_status("default_transaction_read_only") == "on":
        record.invalidate()


def _insert(
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    texts: Sequence[Callable[[Any], str]],
    *shared: str,
    on_conflict: str = NOTHING,
) -> int:
    """Insert rows whose first columns have ``shared`` values. ``texts`` convert the values of the other columns."""
    arrays = [_array(text, values) for text, values in zip(texts, zip(*rows, strict=True), strict=True)]
    statement = _statement(table, names, len(shared), on_conflict, connection.dialect)
    return connection.exec_driver_sql(statement, (*shared, *arrays)).rowcount


@lru_cache(maxsize=64)
def _statement(
    table: Table, columns: tuple[str, ...], shared: int, on_conflict: str, dialect: Dialect
) -> str:
    # A collation belongs to the column, not to the type of a value.
    types = [table.columns[name].type.compile(dialect).partition(" COLLATE ")[0] for name in columns]
    values = ", ".join([*(f"%s::{kind}" for kind in types[:shared]), "own.*"])
    arrays = ", ".join(f"%s::{kind}[]" for kind in types[shared:])
    names = ", ".join(columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({arrays}) AS own ON CONFLICT {on_conflict}"  # noqa: S608 -- the tables' own names


@lru_cache(maxsize=256)
def _text_of(table: Table, column: str) -> Callable[[Any], str]:
    kind = table.columns[column].type
    if isinstance(kind, Document):
        return to_json
    return _bytes if isinstance(kind, LargeBinary) else _text


def _bytes(value: bytes) -> str:
    return "\\x" + value.hex()


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return to_text(value)
    return value.name if isinstance(value, Severity) else str(value)


_SPECIAL = re.compile(r'(["\\])')
_SEPARATOR = "\x1f"


def _array(text: Callable[[Any], str], values: Sequence[Any]) -> str:
    """Return a Postgres array literal with every element quoted."""
    if text is _text and all(type(value) is str for value in values):
        # Fast path: escape all values at once, joined by a character that hardly any text contains.
        joined = _SEPARATOR.join(values)
        if joined.count(_SEPARATOR) == len(values) - 1:
            escaped = joined.replace("\\", r"\\").replace('"', r"\"").replace(_SEPARATOR, '","')
            return f'{{"{escaped}"}}'
    elements = (
        "NULL" if value is None else '"' + _SPECIAL.sub(r"\\\1", text(value)) + '"' for value in values
    )
    return "{" + ",".join(elements) + "}"
