"""Small files outside of the database, which a process leaves for the next process.

Each process locks a separate file. The operating system releases the lock when the process ends, and the next process
takes the file over.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oktawatch.engine.state_folder import state_folder

if TYPE_CHECKING:
    from oktawatch.store.database import Database

_FILES = 64  # maximum number of concurrent processes on one database: the daemon and backfills


def process_path(database: "Database", suffix: str) -> Path:
    """Return the path for `lock_free_file`: next to an SQLite database, else in the state folder."""
    if (file := database.file) is not None:
        return state_folder(file) / f"{file.name}.{suffix}"
    url = database.url.render_as_string(hide_password=True)
    return state_folder(None) / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.{suffix}"


def lock_free_file(path: Path) -> int:
    """Open and lock the first of the files ``PATH-0``, ``PATH-1``, … that no other process uses. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for candidate in _candidates(path):
        file = os.open(candidate, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        except BaseException:
            os.close(file)
            raise
        else:
            return file
    raise OSError(f"more than {_FILES} processes use this database")


def _candidates(path: Path) -> Iterator[Path]:
    return (path.with_name(f"{path.name}-{number}") for number in range(_FILES))
