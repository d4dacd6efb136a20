"""Lock an SQLite file for one daemon; the operating system frees the lock with the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oktawatch.config.errors import ConfigError
from oktawatch.engine.database import DatabaseExecutor


@contextmanager
def exclusive_lock(database: DatabaseExecutor) -> Iterator[None]:
    """Hold the lock of a database file. Raises ConfigError when another `run` holds it.

    Two daemons would poll the same orgs twice and roll each other's pages back. The lock is on a file beside the
    database: closing any handle of the database itself would drop SQLite's own locks on it. The file is not
    deleted, since two processes could then lock two files of one name.

    Postgres needs no lock: any number of processes use it, and leases distribute the orgs among them.
    """
    if database.database.shared:
        yield
        return
    file = database.database.url.database or ""
    path = Path(f"{Path(file).resolve()}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            "can't use the database's folder",
            str(path),
            f"{error.strerror}: make a folder that this user may write to, or change database.url",
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another oktawatch runs on this database",
                file,
                "stop that one, or give this one a database of its own",
            ) from None
        yield
    finally:
        os.close(handle)
