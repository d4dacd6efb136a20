"""Back up an SQLite file while other processes use it.

SQLite's backup API copies the file within a read transaction, so the copy has the state of one moment, and writers
are not delayed. The copy is written to a temporary folder beside the target and checked, and only then gets the target's
name. After an interruption, a file of this name is complete. Without support for hard links, it can also be empty.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

_PAGES_AT_ONCE = 2_000
"""Pages of the file per step, 8 MB. The progress is reported after each step."""

Progress = Callable[[int, int], None]
"""Called with the number of copied pages and the number of all pages."""


def backup(database: Database, target: Path, *, progress: Progress = lambda _done, _all: None) -> int:
    """Copy the database to a new file; return its size in bytes.

    Raises FileExistsError if the target exists, and StoreError if the copy can't be written or is damaged.
    """
    if os.path.lexists(target):
        raise FileExistsError(target)
    try:
        # A folder, because SQLite creates further files beside the copy.
        with TemporaryDirectory(prefix=f".{target.name}.", suffix=".partial", dir=target.parent) as folder:
            partial = Path(folder) / target.name
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(sqlite3.connect(partial)) as copy:
                _copy(database, copy, progress)
                _require_undamaged(copy)
            _flush(partial)
            _publish(partial, target)
        _flush(target.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"can't write the backup ({target}): {error.strerror or 'it fails'}") from None
    except sqlite3.Error as error:
        raise StoreError(f"can't write the backup ({target}): {error}") from None
    return target.stat().st_size


def _copy(database: Database, copy: sqlite3.Connection, progress: Progress) -> None:
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master")  # begins the snapshot
        source: Any = connection.connection.driver_connection
        source.backup(
            copy,
            pages=_PAGES_AT_ONCE,
            progress=lambda _status, remaining, total: progress(total - remaining, total),
            sleep=0,
        )


def _require_undamaged(copy: sqlite3.Connection) -> None:
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {' '.join(found.split())}")


def _publish(partial: Path, target: Path) -> None:
    """Link the finished copy under the target's name. Raise FileExistsError if a file of this name has appeared meanwhile."""
    try:
        target.hardlink_to(partial)  # a rename would replace that file
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name, and replace only the reservation
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        partial.rename(target)


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
