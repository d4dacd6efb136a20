"""The size of a database, and the free space of its disk."""

import shutil
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Connection

from oktawatch.store.database import Database

LITTLE_SPACE = 500 * 1024**2
"""Bytes of free space below which a day of a busy org, or a schema upgrade, may fill the disk."""
_SUFFIXES = ("", "-wal", "-shm")  # of the files of an SQLite database


class Space(Struct, frozen=True, kw_only=True):
    """The disk space of a database, in bytes."""

    used: int
    """The database's size, with its write-ahead log on SQLite."""
    free: int | None
    """The free space of the database's disk; None in memory, for a server, or if it is unknown."""

    @property
    def little(self) -> bool:
        """Whether the disk may soon be full."""
        return self.free is not None and self.free < LITTLE_SPACE


def read_space(database: Database) -> Space:
    """Return the disk space of a database. Raise StoreError if it can't be read."""
    with database.read() as connection:
        return read_space_within(database, connection)


def read_space_within(database: Database, connection: Connection) -> Space:
    """Return the disk space as `read_space` does, within a transaction."""
    if database.shared:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return Space(used=size, free=None)
    file = database.url.database
    if not file:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return Space(used=pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one(), free=None)
    return Space(
        used=sum(_size(Path(file + suffix)) for suffix in _SUFFIXES),
        free=free_space(Path(file).resolve().parent),
    )


def free_space(folder: Path) -> int | None:
    """Return the free bytes of the disk that holds a folder, or None if that is unknown."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # SQLite creates and deletes the files beside the database
