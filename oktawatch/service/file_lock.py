"""Lock an SQLite file, so that only one `run` or `db copy` uses it.

The operating system releases the lock when the process ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oktawatch.config.errors import ConfigError


@contextmanager
def exclusive_lock(file: Path | None) -> Iterator[None]:
    """Hold the lock of an SQLite file; do nothing for None.

    Raises ConfigError if another process holds the lock, or if the lock file can't be opened.

    Two daemons would poll the same orgs and roll back each other's pages. The lock is on a separate file, because
    closing any handle of the database file would drop SQLite's own locks. The lock file is not deleted, because two
    processes could then lock two files of the same name.

    Postgres needs no lock, because leases distribute the orgs among any number of processes.
    """
    if file is None:
        yield
        return
    path = Path(f"{file.resolve()}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            "can't use the database's folder",
            str(path),
            f"{error.strerror}: create a folder that this user can write to, or change database.url",
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another oktawatch runs on this database",
                str(file),
                "stop it, or use another database",
            ) from None
        yield
    finally:
        os.close(handle)
