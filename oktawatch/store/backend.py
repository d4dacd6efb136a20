"""The interface of the two back ends, `sqlite` and `postgres`, and their shared code.

A write transaction acquires its locks in a fixed order. If it needs the org's row, this lock comes first. The
transaction waits in short slices, and is abandoned between two slices if the program is stopping, usually before it has
done anything.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, Row, Select, Table
from sqlalchemy.exc import DBAPIError

from oktawatch.store.errors import StoppedError

T = TypeVar("T")

LOCK_SLICE_S = 0.25
"""Seconds to wait for a lock before checking whether the program is stopping."""
LOCK_DEADLINE_S = 30.0
"""Seconds to wait for a lock before raising an error."""
NOTHING = "DO NOTHING"
"""The SQL after ``ON CONFLICT`` that skips a row whose key exists."""


class Backend(Protocol):
    """A kind of database."""

    connections: int
    """The useful number of connections."""

    def engine(self, *, stopping: threading.Event) -> Engine:
        """Build the engine without connecting. Once ``stopping`` is set, no connection waits for long."""

    def begin(self, connection: Connection, *, write: bool, stopping: threading.Event) -> None:
        """Begin a transaction. A write that waits for a lock raises StoppedError if the program stops."""

    def lock_row(
        self,
        connection: Connection,
        lock: Select[Any],
        values: Mapping[str, Any],
        *,
        stopping: threading.Event,
    ) -> Row[Any] | None:
        """Run the statement that locks a row for a write; return the row, or None if there is none."""

    def lock_schema(self, connection: Connection, *, stopping: threading.Event) -> None:
        """Lock the schema against changes by other processes until this transaction ends."""

    def lock(self, connection: Connection, name: str, *, stopping: threading.Event) -> None:
        """Acquire a named lock, which is released at the end of this transaction."""

    def insert_new(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
    ) -> int:
        """Convert and insert rows, skipping those whose key exists; return how many were inserted."""

    def insert_for_org(
        self,
        connection: Connection,
        table: Table,
        org: str,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
        on_conflict: str,
    ) -> int:
        """Insert rows of one org without conversion. ``on_conflict`` is the SQL after ON CONFLICT."""

    def find_damage(self, connection: Connection, *, within_s: float) -> str | None:
        """Check the database's file for damage for up to ``within_s``; return the first damage found, or None."""

    def is_damage(self, error: DBAPIError) -> bool:
        """Return whether an error means that the database's file is malformed."""

    def is_failed_write(self, error: DBAPIError) -> bool:
        """Return whether an error means that the disk is full or faulty, or that the database can only be read."""

    def explain(self, error: DBAPIError) -> str:
        """Return the database's error message as one line, without values of rows."""


def retry_while_busy(
    attempt: Callable[[], T], *, busy: Callable[[DBAPIError], bool], stopping: threading.Event
) -> T:
    """Call ``attempt`` until it acquires its lock, and return its result.

    Raises StoppedError if the program stops. Raises the database's error if the lock is still busy after
    `LOCK_DEADLINE_S`, or if the error has another cause.
    """
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while True:
        if stopping.is_set():
            raise StoppedError("stopping: the transaction had not begun")
        try:
            return attempt()
        except DBAPIError as error:
            if not busy(error) or time.monotonic() > deadline:
                raise


def to_json(value: Any) -> str:
    """Encode a value as JSON."""
    return msgspec.json.encode(value).decode()
