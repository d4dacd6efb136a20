"""A database that can't be written causes one alarm without the outbox, and one message when it is over."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import PATIENCE, Daemon, until
from tests.support.http import HttpReceiver, receiving
from tests.support.logclient import event
from tests.support.places import Kind, Place, damage, place_of
from tests.support.postgres import OwnServer, proxied_server
from tests.support.stalling import stalling

pytestmark = pytest.mark.waits

AFTER_S = 4
INTERVAL_S = AFTER_S / 2
"""The time between two checks of the database."""
SLACK_S = 6
"""The maximum additional delay on a loaded machine."""


class Watched:
    """A daemon with one org and one receiver."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.receiver: HttpReceiver = stack.enter_context(receiving())
        self.org = SimulatedOrg()
        self._numbers = count()
        url = stack.enter_context(running(self.org))
        self.daemon = Daemon(
            place,
            f'[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\n[silence]\nafter = "{AFTER_S}s"\n'
            f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{self.org.token}"\n'
            f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{self.receiver.url}"\n',
        )
        self._stack = stack
        self._folder = place.folder

    @property
    def _alarm_file(self) -> Path:
        (file,) = self._folder.rglob("*.alarm-0")
        return file

    def start(self) -> None:
        """Start the daemon, and wait until it polls."""
        self._stack.enter_context(self.daemon)
        self.daemon.wait_for_message("READY=1")
        until(lambda: len(self.org.requests) > 1, "a poll")

    def kill(self) -> None:
        """Kill the daemon."""
        self.daemon.process.kill()
        self.daemon.process.wait(PATIENCE)

    def restart(self) -> None:
        """Start the next daemon, like a service manager."""
        self.daemon.process.wait(0)
        self.daemon.__enter__()

    def restart_quietly(self) -> None:
        """Start the next daemon, and wait until it has checked its database and all orgs more than once."""
        before = len(self.org.requests)
        self.restart()
        until(lambda: len(self.org.requests) > before + 1, "a poll")
        time.sleep(3 * INTERVAL_S)
        assert self.daemon.stop()[0] == 0

    def database_messages(self) -> list[dict[str, Any]]:
        """Return the messages about the database."""
        bodies = [one.json for one in self.receiver.received]
        return [
            body for body in bodies if "silence" in body and body["silence"]["about"][0]["what"] == "database"
        ]

    def wait_for(self, kind: str, *, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Wait for a message; return the seconds it took."""
        begun = time.monotonic()
        while kind not in [body["type"] for body in self.database_messages()]:
            assert time.monotonic() < begun + 2 * PATIENCE, self.daemon.log[-5:]
            meanwhile()
            time.sleep(0.05)
        return time.monotonic() - begun

    def wait_until_noted(self, *, delivered: bool) -> None:
        """Wait until the daemon has recorded whether the receiver has an alarm that is not over.

        If the daemon is killed between sending and recording, the next one repeats the message under the same key.
        """
        until(lambda: (b'"soc":true' in self._alarm_file.read_bytes()) is delivered, "a note about the alarm")

    def people_sign_in(self) -> None:
        """Add enough events for a full page."""
        for _ in range(300):
            self.org.persist(event(next(self._numbers), datetime.now(UTC)))


@contextmanager
def watched(place: Place) -> Iterator[Watched]:
    """Yield a daemon, and remove everything afterwards."""
    with ExitStack() as stack:
        yield Watched(place, stack)


def test_a_locked_file(tmp_path: Path) -> None:
    """Another program that holds the lock for longer than `silence.after` causes an alarm."""
    with place_of(Kind.SQLITE, tmp_path) as place, watched(place) as world:
        world.start()
        with place.locked():
            seconds = world.wait_for("silence.raised")
        world.wait_for("silence.over")
        assert world.daemon.stop()[0] == 0
    assert seconds < AFTER_S + INTERVAL_S + SLACK_S
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]


def test_a_full_disk(tmp_path: Path) -> None:
    """A full disk causes one alarm, and one message when there is space again."""
    with place_of(Kind.SQLITE, tmp_path) as place, watched(place) as world:
        world.start()
        process = world.daemon.process.pid
        unlimited = resource.prlimit(process, resource.RLIMIT_FSIZE)
        room = max((tmp_path / "daemon.log").stat().st_size + 200_000, place.file.stat().st_size)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (room, unlimited[1]))
        world.wait_for("silence.raised", meanwhile=world.people_sign_in)
        resource.prlimit(process, resource.RLIMIT_FSIZE, unlimited)
        world.wait_for("silence.over")
    raised, over = world.database_messages()
    # Beyond the limit, the kernel refuses a write with EFBIG, which SQLite calls an I/O error. It says "database or disk is
    # full" only for ENOSPC. The daemon treats both alike.
    error = raised["silence"]["about"][0]["error"]
    assert error == f"the database refused ({place.file}): disk I/O error"
    assert over["type"] == "silence.over"


def test_a_server_that_is_stopped_and_started_again(tmp_path: Path) -> None:
    """A server that goes away under a running daemon causes an alarm."""
    own = OwnServer()
    try:
        with watched(Place(Kind.POSTGRES, tmp_path, own.url_of(own.create()))) as world:
            world.start()
            own.control("stop", "-m", "immediate")
            seconds = world.wait_for("silence.raised")
            own.control("start", "-o", f'-h "" -k {own.folder}')
            world.wait_for("silence.over")
            assert world.daemon.stop()[0] == 0
        assert seconds < AFTER_S + INTERVAL_S + SLACK_S
        assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
    finally:
        own.close()


def test_a_server_that_only_reads(tmp_path: Path) -> None:
    """A server that became a standby causes an alarm, until it is the primary again."""
    with place_of(Kind.POSTGRES, tmp_path) as place, watched(place) as world:
        world.start()
        name = place.url.rpartition("/")[2].partition("?")[0]
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        place.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        place.ask(f"SELECT pg_terminate_backend(pid) {others}")
        seconds = world.wait_for("silence.raised")
        place.run(
            f"ALTER DATABASE {name} SET default_transaction_read_only = off",
            "SET default_transaction_read_only = off",
        )
        world.wait_for("silence.over")
        assert world.daemon.stop()[0] == 0
    assert seconds < AFTER_S + INTERVAL_S + SLACK_S
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
    assert "read-only transaction" in world.database_messages()[0]["silence"]["about"][0]["error"]


def test_a_silent_server(tmp_path: Path) -> None:
    """A server that keeps connections open without responding causes an alarm."""
    with place_of(Kind.POSTGRES, tmp_path) as direct:
        upstream, by_proxy = proxied_server(direct.url)
        with (
            stalling(upstream) as proxy,
            watched(Place(direct.kind, tmp_path, by_proxy(proxy.port))) as world,
        ):
            world.start()
            proxy.stall()
            seconds = world.wait_for("silence.raised")
            proxy.flow()
            world.wait_for("silence.over")
    assert seconds < AFTER_S + INTERVAL_S + SLACK_S
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]


@pytest.mark.slow
def test_a_server_that_is_down_at_the_start(tmp_path: Path) -> None:
    """The daemon waits for the server, asks systemd for more time, and sends an alarm."""
    own = OwnServer()
    try:
        name = own.create()
        own.control("stop", "-m", "immediate")
        with watched(Place(Kind.POSTGRES, tmp_path, own.url_of(name))) as world, world.daemon:
            world.wait_for("silence.raised")
            world.daemon.wait_for_message("EXTEND_TIMEOUT_USEC=60000000")
            own.control("start", "-o", f'-h "" -k {own.folder}')
            world.daemon.wait_for_message("READY=1")
            world.wait_for("silence.over")
            assert world.daemon.stop()[0] == 0
        assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
    finally:
        own.close()


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_deleted_file(tmp_path: Path, replaced: bool) -> None:
    """If the database file is deleted, the daemon sends an alarm and ends. The next one sends its end, once."""
    with place_of(Kind.SQLITE, tmp_path) as place, watched(place) as world:
        world.start()
        if replaced:
            other = tmp_path / "other.db"
            other.write_bytes(place.file.read_bytes())
            other.replace(place.file)
        else:
            place.wipe()
        assert world.daemon.process.wait(PATIENCE) == 1
        (error,) = world.daemon.errors
        assert "was deleted or replaced while it was open" in error
        assert [body["type"] for body in world.database_messages()] == ["silence.raised"]

        world.restart()
        world.wait_for("silence.over")
        assert world.daemon.stop()[0] == 0
        world.restart_quietly()
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
    assert world.database_messages()[1]["silence"]["about"][0]["name"] == str(place.file)


def test_a_daemon_that_is_killed_while_its_file_is_locked(tmp_path: Path) -> None:
    """The next daemon doesn't repeat the alarm while the file is still locked, and sends its end once."""
    with place_of(Kind.SQLITE, tmp_path) as place, watched(place) as world:
        world.start()
        with place.locked():
            world.receiver.received.clear()  # a loaded machine may have been slow for long enough to cause an alarm
            world.wait_for("silence.raised")
            world.wait_until_noted(delivered=True)
            world.kill()
            world.restart()
            time.sleep(AFTER_S + INTERVAL_S)
            assert [body["type"] for body in world.database_messages()] == ["silence.raised"]
        world.wait_for("silence.over")
        world.wait_until_noted(delivered=False)
        world.kill()
        world.restart_quietly()
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]


def test_a_daemon_that_is_killed_while_its_server_is_stopped(tmp_path: Path) -> None:
    """On Postgres, the next daemon of this state folder sends the end once."""
    own = OwnServer()
    try:
        with watched(Place(Kind.POSTGRES, tmp_path, own.url_of(own.create()))) as world:
            world.start()
            own.control("stop", "-m", "immediate")
            world.wait_for("silence.raised")
            world.wait_until_noted(delivered=True)
            world.kill()
            own.control("start", "-o", f'-h "" -k {own.folder}')
            world.restart()
            world.wait_for("silence.over")
            assert world.daemon.stop()[0] == 0
            world.restart_quietly()
        assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
    finally:
        own.close()


def test_a_malformed_file(tmp_path: Path) -> None:
    """If the file is malformed, the daemon sends an alarm and ends with an exit code that systemd doesn't restart."""
    with place_of(Kind.SQLITE, tmp_path) as place:
        with watched(place) as world:
            world.start()
            world.people_sign_in()
            until(lambda: place.ask("SELECT count(*) FROM events")[0][0] > 200, "pages of events")
            assert world.daemon.stop()[0] == 0
        damage(place.file)
        with watched(place) as world, world.daemon:
            assert world.daemon.process.wait(PATIENCE) == 2
            (error,) = world.daemon.errors
            assert "the database is damaged" in error
            assert [body["type"] for body in world.database_messages()] == ["silence.raised"]
            place.file.unlink()
            world.restart()
            world.wait_for("silence.over")
    assert [body["type"] for body in world.database_messages()] == ["silence.raised", "silence.over"]
