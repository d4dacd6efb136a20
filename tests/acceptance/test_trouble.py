"""A database that fails under a running daemon is logged once, and nothing is lost."""

import resource
import time
from pathlib import Path

import pytest

from tests.acceptance.crash.world import Life, World, world
from tests.support.places import Kind, Place, place_of
from tests.support.postgres import OwnServer

pytestmark = pytest.mark.waits

PATIENCE = 60.0


def wait_for(made: World, event: str, *lives: Life) -> None:
    """Generate sign-ins until the daemon has logged an event."""
    end = time.monotonic() + PATIENCE
    while event not in {line["event"] for line in made.log()}:
        assert time.monotonic() < end, f"in vain: {event}"
        made.live(0.2, *lives)


def wait_for_alerts(made: World, *lives: Life) -> None:
    """Generate sign-ins until a notification arrives."""
    end = time.monotonic() + PATIENCE
    while not made.receiver.received:
        assert time.monotonic() < end, "in vain: a message"
        made.live(0.2, *lives)


def outlived(made: World, life: Life) -> None:
    """Check that the failure was logged once, nothing is lost, and the daemon stops normally."""
    wait_for(made, "database_recovered", life)
    made.settle(life)
    assert life.stop() == 0
    assert made.differences() == []
    trouble = [line["event"] for line in made.log() if line["event"].startswith("database_")]
    assert trouble == ["database_failed", "database_recovered"]


def test_a_restarted_server_loses_nothing(tmp_path: Path) -> None:
    """A server that is stopped and started again while the daemon works is logged once, and nothing is lost."""
    own = OwnServer()
    place = Place(Kind.POSTGRES, tmp_path, own.url_of(own.create()))
    with world(place, 3) as made:
        life = Life(made.folder("only"))
        try:
            wait_for_alerts(made, life)
            own.control("stop", "-m", "immediate")
            wait_for(made, "database_failed", life)
            own.control("start", "-o", f'-h "" -k {own.folder}')
            outlived(made, life)
        finally:
            life.kill()
    own.close()


def test_a_full_disk_is_logged_once(tmp_path: Path) -> None:
    """A full disk is logged once, and pages are committed when there is space again."""
    with place_of(Kind.SQLITE, tmp_path) as place, world(place, 4) as made:
        for number in range(3_000):
            made.somebody_signs_in(("acme", "globex")[number % 2])
        folder = made.folder("only")
        life = Life(folder)
        try:
            wait_for_alerts(made, life)
            room = max((folder / "log").stat().st_size + 200_000, place.file.stat().st_size)
            unlimited = resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE, (room, unlimited[1]))
            end = time.monotonic() + PATIENCE
            while "database_failed" not in {line["event"] for line in made.log()}:
                assert time.monotonic() < end
                for _ in range(500):
                    made.somebody_signs_in("acme")
                made.live(0.2, life)
            resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE, unlimited)
            outlived(made, life)
        finally:
            life.kill()


def test_a_read_only_server_is_logged_once(tmp_path: Path) -> None:
    """In a failover, the server is read-only until there is a primary again. The failure is logged once, and nothing is lost."""
    with place_of(Kind.POSTGRES, tmp_path) as place, world(place, 5) as made:
        life = Life(made.folder("only"))
        try:
            wait_for_alerts(made, life)
            name = place.url.rpartition("/")[2].partition("?")[0]
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            place.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            place.ask(f"SELECT pg_terminate_backend(pid) {others}")
            wait_for(made, "database_failed", life)
            place.run(
                f"ALTER DATABASE {name} SET default_transaction_read_only = off",
                "SET default_transaction_read_only = off",
            )
            outlived(made, life)
        finally:
            life.kill()
