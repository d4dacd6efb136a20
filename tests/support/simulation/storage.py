"""The simulated daemon's database file and its failures."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from tests.support.simulation.virtual_loop import LockedError, VirtualThread


class Storage:
    """The database file and its current failure."""

    MODES = ("well", "locked", "disk full", "disk fails", "slow")

    def __init__(self, file: Path) -> None:
        self.file = file
        self.mode = "well"
        self.fails_in: int | None = None
        """The number of statements until one fails, or None."""
        self.thread: VirtualThread | None = None

    def slow_s(self) -> float:
        """Return the duration of a call."""
        return 1.0 if self.mode == "slow" else 0.0

    def before_statement(self, statement: str, thread: VirtualThread) -> None:
        """Raise SQLite's error for the current failure, if there is one."""
        if self.mode == "locked" and statement == "BEGIN IMMEDIATE":
            if thread.last_try:
                raise _sqlite_error(statement, "database is locked", sqlite3.SQLITE_ERROR)
            raise LockedError
        if self.mode == "disk fails" and not statement.startswith("SELECT"):
            raise _sqlite_error(statement, "disk I/O error", sqlite3.SQLITE_IOERR)
        if self.mode == "disk full" and statement.startswith(("INSERT", "WITH")):
            raise _sqlite_error(statement, "database or disk is full", sqlite3.SQLITE_FULL)
        if self.fails_in is not None:
            self.fails_in -= 1
            if self.fails_in < 0:
                self.fails_in = None
                raise _sqlite_error(statement, "disk I/O error", sqlite3.SQLITE_IOERR)

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a query on the file, independently of the program."""
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(query, values).fetchall()


def _sqlite_error(statement: str, text: str, code: int) -> OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return OperationalError(statement, None, error)
