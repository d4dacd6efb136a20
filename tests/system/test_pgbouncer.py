"""oktawatch behind PgBouncer in transaction mode, with fewer connections than clients.

This needs Debian's pgbouncer package: `make system` runs it.
"""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.acceptance.crash.world import Life, World, world
from tests.support.places import Kind, Place
from tests.support.postgres import OwnServer
from tests.support.program import eventually

GUIDE = Path(__file__).parents[2] / "docs" / "postgres.md"
ORGS = ("acme", "globex", "initech", "umbrella")
POOL = 2
"""Connections to the server, for two daemons, a backfill and the test itself."""


class Pooler:
    """PgBouncer as the guide configures it, with a smaller pool."""

    def __init__(self, own: OwnServer, folder: Path) -> None:
        (ini,) = re.findall(r"^```ini\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        self.own = own
        self._port = _free_port()
        # Whoever comes is let in as the superuser, as the tests' own server does.
        here = f"host={own.folder} dbname=oktawatch user=postgres"
        text = ini.replace("host=db.example.com dbname=oktawatch", here)
        text = re.sub(r"default_pool_size = \d+", f"default_pool_size = {POOL}", text)
        assert here in text
        assert "pool_mode = transaction" in text
        self._file = folder / "pgbouncer.ini"
        self._file.write_text(
            f"{text}\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n",
            "utf-8",
        )

    @property
    def url(self) -> str:
        """The address for oktawatch."""
        return f"postgresql+psycopg://oktawatch@127.0.0.1:{self._port}/oktawatch"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start PgBouncer, and wait until it accepts a connection."""
        user = [] if self.own.user is None else ["-u", self.own.user]
        process = subprocess.Popen(["/usr/sbin/pgbouncer", "-q", *user, self._file])

        def listens() -> bool:
            assert process.poll() is None, "pgbouncer has ended"
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", self._port)) == 0

        eventually(listens)
        return process

    def show(self, what: str) -> list[dict[str, object]]:
        """Query PgBouncer's own state."""
        address = f"host=127.0.0.1 port={self._port} dbname=pgbouncer user=postgres"
        with closing(psycopg.connect(address, autocommit=True, row_factory=dict_row)) as connection:
            return connection.execute(f"SHOW {what}".encode()).fetchall()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[Pooler]:
    """Yield a server with PgBouncer in front of it."""
    own = OwnServer()
    own.execute("CREATE DATABASE oktawatch")
    made = Pooler(own, tmp_path)
    process = made.start()
    yield made
    process.kill()
    process.wait()
    own.close()


def _clients(pooler: Pooler) -> int:
    return sum(one["database"] == "oktawatch" for one in pooler.show("CLIENTS"))


def test_two_replicas_and_a_backfill(pooler: Pooler, tmp_path: Path) -> None:
    """Three processes share two connections, one is killed, and nothing is lost or duplicated."""
    place = Place(Kind.POSTGRES, tmp_path, pooler.url)
    with world(place, 1, ORGS) as made:
        folders = [made.folder(name) for name in ("first", "second")]
        lives = [Life(folder) for folder in folders]
        try:
            eventually(lambda: place.has("leases") and _holders(place) == {"first", "second"})
            made.live(4.0, *lives)
            backfill = subprocess.Popen(
                [sys.executable, "-m", "oktawatch", "backfill", "--since", "1d", "--notify", "--config", folders[0] / "oktawatch.toml"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            made.live(3.0, *lives)
            assert _clients(pooler) > POOL
            for _ in range(3):
                lives[0].kill()
                made.live(3.0, lives[1])
                lives[0] = Life(folders[0])
                made.live(2.0, *lives)
            said = backfill.communicate(timeout=60)[1]
            assert backfill.returncode == 0, said
            made.settle(*lives)
            (pool,) = (one for one in pooler.show("POOLS") if one["database"] == "oktawatch")
            assert pool["pool_mode"] == "transaction"
            opened = len([one for one in pooler.show("SERVERS") if one["database"] == "oktawatch"])
            assert 0 < opened <= POOL
            assert [life.stop() for life in lives] == [0, 0]
        finally:
            for life in lives:
                life.kill()
        _nothing_is_wrong(made)


def _holders(place: Place) -> set[object]:
    return {row[0] for row in place.ask("SELECT holder FROM leases")}


def _nothing_is_wrong(made: World) -> None:
    # The order of arrival of a backfill and a poll decides the grouping only.
    differences = [
        line for line in made.differences() if ": alert " not in line and ": notified " not in line
    ]
    assert differences == []
    errors = [line for line in made.log() if line["level"] == "error"]
    assert not errors, errors
    held = dict(made.place.ask("SELECT alert_id, count(*) FROM matches GROUP BY 1"))
    assert held == dict(made.place.ask("SELECT id, event_count FROM alerts"))
