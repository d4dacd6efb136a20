"""What SQLite and Postgres really do differently; everything else is SQLAlchemy's business.

`sqlite` and `postgres` are the two back ends. What they share:

A *write* takes its locks in one order, the org's row first, and waits for them in slices: between two
of them it looks whether the program is stopping. A transaction that still waits has not begun, so
giving it up loses nothing.
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

SLICE = 0.25
"""Seconds that the database itself waits for a lock before we look whether to stop."""
DEADLINE = 30.0
"""Seconds after which a lock that never comes is an error."""
NOTHING = "DO NOTHING"
"""What becomes of a row whose key is there, as SQL."""


class Backend(Protocol):
    """One kind of database."""

    connections: int
    """How many are worth having at once."""

    def engine(self, *, stopping: threading.Event) -> Engine:
        """Build the engine without connecting. Once ``stopping`` is set, no connection waits for long."""

    def begin(self, connection: Connection, *, write: bool, stopping: threading.Event) -> None:
        """Begin a transaction. A write may be given up with StoppedError while it waits."""

    def take(
        self,
        connection: Connection,
        lock: Select[Any],
        values: Mapping[str, Any],
        *,
        stopping: threading.Event,
    ) -> Row[Any] | None:
        """Run the statement that takes a row for a write, which has written nothing yet; give it."""

    def hold_schema(self, connection: Connection, *, stopping: threading.Event) -> None:
        """Let no other process change the schema until this transaction ends."""

    def hold(self, connection: Connection, what: str, *, stopping: threading.Event) -> None:
        """Let no other process hold the same until this transaction ends."""

    def insert_new(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
    ) -> int:
        """Convert and insert rows, leaving out those whose key is there; give how many went in."""

    def insert_of(
        self,
        connection: Connection,
        table: Table,
        org: str,
        rows: Sequence[tuple[Any, ...]],
        columns: tuple[str, ...],
        otherwise: str,
    ) -> int:
        """Insert rows of one org as they are; ``otherwise`` is what follows ON CONFLICT."""

    def find_damage(self, connection: Connection, *, within_s: float) -> str | None:
        """Look for damage in the database's file for some seconds; return what was found first."""

    def is_damage(self, error: DBAPIError) -> bool:
        """Return whether an error means that the database's file is malformed."""

    def is_failed_write(self, error: DBAPIError) -> bool:
        """Return whether an error means that the disk is full or fails."""

    def explain(self, error: DBAPIError) -> str:
        """Return in one line what the database said, without what a stranger wrote into a row."""


def patiently(
    attempt: Callable[[], T], *, busy: Callable[[DBAPIError], bool], stopping: threading.Event
) -> T:
    """Try for a lock, slice after slice, until it is had, the program stops or hope is gone."""
    deadline = time.monotonic() + DEADLINE
    while True:
        if stopping.is_set():
            raise StoppedError("stopping: the transaction had not begun")
        try:
            return attempt()
        except DBAPIError as error:
            if not busy(error) or time.monotonic() > deadline:
                raise


def to_json(value: Any) -> str:
    """Write a JSON value."""
    return msgspec.json.encode(value).decode()
