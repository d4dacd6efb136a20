"""The place of a test's database: an SQLite file, or a database on a Postgres server."""

import enum
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from oktawatch.store.database import Database
from oktawatch.store.postgres import SCHEMA_LOCK
from oktawatch.store.schema import upgrade
from tests.support import postgres


class Kind(enum.StrEnum):
    """A kind of database."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True)
class Place:
    """A place for one database."""

    kind: Kind
    folder: Path
    """A folder for other files of the test."""
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Return environment variables that make the program use this database."""
        if self.kind is Kind.SQLITE:
            return {}
        return {
            "OKTAWATCH__DATABASE__URL": self.url,
            "OKTAWATCH__DATABASE__AUTO_UPGRADE": "true",
            "XDG_STATE_HOME": str(self.folder),
        }

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._connected() as connection:
            return list(connection.execute(query).fetchall())

    def run(self, statement: str, *before: str) -> None:
        """Run the statements in ``before``, then ``statement``, on one connection without a transaction."""
        with self._connected() as connection:
            for each in (*before, statement):
                connection.execute(each)

    def has(self, table: str) -> bool:
        """Return whether the database and the table exist."""
        if self.kind is Kind.SQLITE:
            found = "SELECT count(*) FROM sqlite_master WHERE name = "
            return self.file.exists() and self.ask(f"{found}'{table}'") == [(1,)]
        return self.ask(f"SELECT to_regclass('{table}') IS NOT NULL") == [(True,)]

    @property
    def file(self) -> Path:
        """The path of the SQLite file."""
        return self.folder / "oktawatch.db"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that pages and schema upgrades wait for."""
        with self._connected() as connection:
            if self.kind is Kind.SQLITE:
                connection.execute("BEGIN IMMEDIATE")
            else:
                connection.execute("BEGIN")
                connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
                connection.execute("SELECT FROM orgs FOR UPDATE")
            yield
            connection.execute("ROLLBACK")

    def wipe(self) -> None:
        """Delete the database."""
        if self.kind is Kind.SQLITE:
            for file in self.folder.glob("oktawatch.db*"):
                file.unlink()
            return
        with self._connected() as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        if self.kind is Kind.SQLITE:
            with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
                yield connection
        else:
            url = self.url.replace("+psycopg", "")
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                yield connection


def damage(file: Path) -> None:
    """Overwrite all pages of an SQLite file except the first."""
    with file.open("r+b") as opened:
        size = opened.seek(0, 2)
        opened.seek(4096)
        opened.write(b"\xa5" * (size - 4096))


@contextmanager
def place_of(kind: Kind, folder: Path, *, schema: bool = True) -> Iterator[Place]:
    """Yield a place. With ``schema``, a new database already has one, copied from a template."""
    if kind is Kind.SQLITE:
        place = Place(kind, folder, f"sqlite:///{folder / 'oktawatch.db'}")
        if schema and not place.file.exists():
            place.file.write_bytes(migrated_file())
        yield place
        return
    with postgres.fresh(schema=schema) as url:
        yield Place(kind, folder, url)


@cache
def migrated_file() -> bytes:
    """Return the bytes of an SQLite file that the real migrations created, because running migrations is slow."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "oktawatch.db"
        database = Database(f"sqlite:///{file}", create=True)
        upgrade(database)
        database.close()
        return file.read_bytes()
