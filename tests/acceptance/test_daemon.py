"""The daemon as systemd and its operator see it: start, failures, stop."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until
from tests.support.logclient import event
from tests.support.places import Place

pytestmark = pytest.mark.waits

SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\nlog_level = "debug"\n'


def _org(url: str, token: str, name: str = "acme") -> str:
    return f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{token}"\n'


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a recent sign-in through an anonymizer."""
    org = SimulatedOrg()
    org.persist(event(0, datetime.now(UTC), securityContext={"isProxy": True}))
    return org


@contextmanager
def _hanging() -> Iterator[tuple[str, socket.socket]]:
    """Listen like an org that accepts requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield f"http://127.0.0.1:{server.getsockname()[1]}", server


def _count(place: Place, table: str) -> int:
    count: int = place.ask(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 -- a test's own names
    return count


def _wait_between_polls(daemon: Daemon, place: Place) -> None:
    """Wait until the alert is sent and a poll has just ended, so that nothing is being written.

    A write that waits for the test's lock would delay the next poll, because SQLite has one thread.
    """
    daemon.logged("alert_opened")
    waiting = "SELECT count(*) FROM notifications WHERE state <> 'sent'"
    until(lambda: place.ask(waiting) == [(0,)], "the notification to be marked as sent")
    polls = len(daemon.events("page_committed"))
    until(lambda: len(daemon.events("page_committed")) > polls, "the end of a poll")


def _poll_brings(org: SimulatedOrg, number: int) -> None:
    """Add a sign-in, and wait until a poll has returned it."""
    org.persist(event(number, datetime.now(UTC)))
    requests_before = len(org.requests)
    until(lambda: len(org.requests) > requests_before, "a poll")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_polls_notifies_and_stops(org: SimulatedOrg, place: Place, number: signal.Signals) -> None:
    """Alerts are stored and sent at once, and both signals end the daemon with 0."""
    with running(org) as url, Daemon(place, SETTINGS + _org(url, org.token)) as daemon:
        told = daemon.logged("alert_opened")
        code, seconds = daemon.stop(number)

    assert told["rule_id"] == "Okta.Anonymizing.VPN.Login"
    assert _count(place, "alerts") > 0
    assert (code, seconds < STOPS_WITHIN) == (0, True)
    assert daemon.log[-1]["event"] == "daemon_stopped"
    assert org.token not in str(daemon.log)


def test_systemd_is_notified(org: SimulatedOrg, place: Place) -> None:
    """The daemon sends READY once the schema is current, then watchdog messages, and STOPPING at the end."""
    messages: list[str] = []
    with running(org) as url, Daemon(place, SETTINGS + _org(url, org.token), watchdog=0.5) as daemon:
        messages.append(daemon.message())
        schemas = _count(place, "alembic_version")
        while messages.count("WATCHDOG=1") < 3 or "STATUS=watching 1 org" not in messages:
            messages.append(daemon.message())
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_message("STOPPING=1")
        code = daemon.process.wait(STOPS_WITHIN)

    assert (messages[0], schemas, code) == ("READY=1", 1, 0)


def test_a_hanging_request_does_not_delay_the_stop(place: Place) -> None:
    """SIGTERM while an org does not answer ends the daemon within 5 s."""
    with _hanging() as (url, server), Daemon(place, SETTINGS + _org(url, "00invented")) as daemon:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100).startswith(b"GET /api/v1/logs?")
            code, seconds = daemon.stop()

    assert (code, seconds < STOPS_WITHIN) == (0, True)


def test_a_hanging_org_delays_no_other(org: SimulatedOrg, place: Place) -> None:
    """While one org does not answer, the other org's alerts are sent."""
    with running(org) as url, _hanging() as (nowhere, _):
        text = SETTINGS + _org(nowhere, "00invented", name="globex") + _org(url, org.token)
        with Daemon(place, text) as daemon:
            assert daemon.logged("alert_opened")["org"] == "acme"
            assert daemon.stop()[0] == 0


def test_a_lock_at_the_start_does_not_delay_the_stop(org: SimulatedOrg, place: Place) -> None:
    """SIGTERM while another program's lock delays the schema upgrade ends the daemon within 5 s."""
    with running(org) as url, Daemon(place, SETTINGS + _org(url, org.token)) as first:
        first.logged("alert_opened")
        assert first.stop()[0] == 0
    requests_before = len(org.requests)

    with (
        running(org) as url,
        place.locked(),
        Daemon(place, SETTINGS + _org(url, org.token)) as daemon,
    ):
        daemon.logged("daemon_starting")
        code, seconds = daemon.stop()

    assert (code, seconds < STOPS_WITHIN) == (0, True)
    assert len(org.requests) == requests_before


def test_a_page_that_waits_for_a_lock_is_not_committed(org: SimulatedOrg, place: Place) -> None:
    """SIGTERM while a page waits for its lock ends the daemon within 5 s, and the cursor has not moved."""
    with running(org) as url, Daemon(place, SETTINGS + _org(url, org.token)) as daemon:
        _wait_between_polls(daemon, place)
        with place.locked():
            seen = _count(place, "events")
            _poll_brings(org, 1)
            code, seconds = daemon.stop()

    assert (code, seconds < STOPS_WITHIN) == (0, True)
    assert _count(place, "events") == seen


def test_the_daemon_survives_a_locked_database(org: SimulatedOrg, place: Place) -> None:
    """While another program locks the database, watchdog messages are sent. Afterwards, polling continues."""
    with running(org) as url, Daemon(place, SETTINGS + _org(url, org.token), watchdog=0.2) as daemon:
        _wait_between_polls(daemon, place)
        with place.locked():
            seen = _count(place, "events")
            _poll_brings(org, 1)
            for _ in range(5):
                daemon.wait_for_message("WATCHDOG=1")
            assert _count(place, "events") == seen
        until(lambda: _count(place, "events") == seen + 1, "the event")


def test_the_daemon_survives_a_refused_token(org: SimulatedOrg, place: Place) -> None:
    """The daemon keeps running with a refused token, and catches up once the token works."""
    works, org.token = org.token, "00another"
    with running(org) as url, Daemon(place, SETTINGS + _org(url, works)) as daemon:
        failed = daemon.logged("poll_failed")
        org.token = works
        daemon.logged("alert_opened")
        daemon.logged("poll_recovered")
        assert daemon.stop()[0] == 0

    assert (failed["org"], failed["reason"]) == ("acme", "token_refused")
    assert "Okta refuses the token" in failed["error"]
    assert len(daemon.events("poll_failed")) == 1
    assert works not in str(daemon.log)


def test_a_renewed_token_file_is_used(org: SimulatedOrg, place: Place) -> None:
    """A token that is replaced in its file after it was revoked is used without a restart."""
    file = place.folder / "acme.token"
    file.write_text("00revoked", "utf-8")
    with running(org) as url:
        text = SETTINGS + f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken_file = "acme.token"\n'
        with Daemon(place, text) as daemon:
            daemon.logged("poll_failed")
            file.write_text(org.token, "utf-8")
            daemon.logged("token_renewed")
            daemon.logged("alert_opened")

    assert org.token not in str(daemon.log)


def test_the_daemon_survives_an_org_that_closes_connections(place: Place) -> None:
    """A repeated failure is logged once, shown to systemd, and retried."""
    with _hanging() as (url, server), Daemon(place, SETTINGS + _org(url, "00invented")) as daemon:
        for _ in range(3):
            server.accept()[0].close()
        daemon.wait_for_message("STATUS=watching 1 org, 1 failing: acme")
        assert daemon.stop()[0] == 0

    (failed,) = daemon.events("poll_failed")
    assert (failed["org"], failed["reason"]) == ("acme", "unavailable")
    assert "can't be reached" in failed["error"]


def test_only_one_daemon_uses_an_sqlite_file(org: SimulatedOrg, tmp_path: Path) -> None:
    """A second daemon ends with one line and exit code 2. When the first one was killed, another can start."""
    with running(org) as url:
        text = SETTINGS + _org(url, org.token)
        with Daemon(tmp_path, text) as daemon:
            daemon.wait_for_message("READY=1")
            second = daemon.run_another()
        with Daemon(tmp_path, text) as daemon:
            daemon.wait_for_message("READY=1")

    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert second.stderr.startswith("error: another oktawatch runs on this database (")
    assert str(daemon.database) in second.stderr


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('[rules."Okta.Anonymizing.VPN.Login"]\nthreshold = 0\n', 2, "threshold): expected a whole number"),
        ('[database]\nurl = "sqlite:///none/oktawatch.db"\n', 2, "none/oktawatch.db.lock): No such file"),
    ],
    ids=["a rule's option", "a folder that is not there"],
)
def test_errors_at_the_start_have_an_exit_code(tmp_path: Path, text: str, code: int, message: str) -> None:
    """A permanent error ends the start with exit code 2, and a temporary one with 1, so that systemd retries."""
    (tmp_path / "folder").mkdir()
    with Daemon(tmp_path, SETTINGS + text + _org("https://acme.okta.com", "00invented")) as daemon:
        ended = daemon.process.wait(30)

    assert ended == code
    assert [line for line in daemon.errors if message in line] == daemon.errors[-1:]
    assert not list(tmp_path.glob("*.db*"))
