"""`oktawatch status` says whether a daemon runs and can write, and where the database is."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from oktawatch.model.timestamps import to_text
from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import Daemon, until
from tests.support.places import Kind, Place
from tests.support.program import Program

pytestmark = pytest.mark.waits


def test_status_shows_a_daemon_that_runs_and_can_write(place: Place) -> None:
    """`status` shows a running daemon, a stopped one, and one that has not written for ten minutes although its orgs are fine."""
    org, program = SimulatedOrg(), Program(place.folder, place)
    with running(org) as url:
        program.configure(("acme", url, org.token))
        text = (place.folder / "oktawatch.toml").read_text("utf-8")
        with Daemon(place, text + '[service]\nlog_format = "json"\ninstance = "web-1"\n') as daemon:
            daemon.wait_for_message("READY=1")
            until(lambda: "watching 1 org" in program.run("status").stdout, "the daemon's row")
            table = program.run("status").stdout
            with_daemon = program.run("status", "--json")
            assert daemon.stop()[0] == 0
        stopped = program.run("status")
    shown = json.loads(with_daemon.stdout)
    assert with_daemon.returncode == 0
    assert (shown["ok"], shown["daemons"][0]["name"], shown["daemons"][0]["running"]) == (True, "web-1", True)
    assert shown["database"]["bytes"] > 50_000
    assert (shown["database"]["free_bytes"] is None) == (place.kind is Kind.POSTGRES)
    assert re.search(r"^web-1 +running \d+s ago +\d+s ago +watching 1 org$", table, re.MULTILINE)
    assert " DATABASE\n" in table
    assert stopped.returncode == 0
    assert "no daemon runs\n" in stopped.stdout

    now = datetime.now(UTC)
    times = [to_text(now - age) for age in (timedelta(days=2), timedelta(minutes=10))]
    columns = "name, version, started_at, seen_at, state"
    values = f"'web-1', '0.1.0', '{times[0]}', '{times[1]}', 'watching 1 org'"
    place.run(f"INSERT INTO daemons ({columns}) VALUES ({values})")  # noqa: S608 -- a test's own values
    mute = program.run("status")
    assert mute.returncode == 1
    assert re.search("^web-1 +silent ", mute.stdout, re.MULTILINE)
    assert (
        "web-1: it has not written for 10m: it was killed, or it can't write to its database" in mute.stderr
    )
    assert json.loads(program.run("status", "--json").stdout)["ok"] is False


def test_status_shows_how_long_orgs_wait(place: Place) -> None:
    """An org whose rate limit is used up and one that refuses its token show how long they wait, until it has passed."""
    program = Program(place.folder, place)
    with running(busy := SimulatedOrg(rate_limit=4)) as first, running(closed := SimulatedOrg()) as second:
        program.configure(
            ("acme", first, busy.token), ("globex", second, "00wrong"), more='[poll]\ninterval = "6s"\n'
        )
        text = (place.folder / "oktawatch.toml").read_text("utf-8")
        with Daemon(place, text + '[service]\nlog_format = "json"\n') as daemon:
            daemon.wait_for_message("READY=1")
            until(lambda: "rate_limit" in str(place.ask("SELECT waits FROM daemons")), "an org that waits")
            shown = program.run("status")
            found = json.loads(program.run("status", "--json").stdout)
            assert daemon.stop()[0] == 0
    assert closed.requests
    assert re.search(r"^acme: waits \d+s for Okta's rate limit$", shown.stderr, re.MULTILINE)
    assert re.search(r"^globex: polls again in \d+s$", shown.stderr, re.MULTILINE)
    waits = found["daemons"][0]["waits"]
    assert {org: wait["reason"] for org, wait in waits.items()} == {
        "acme": "rate_limit",
        "globex": "back_off",
    }
    assert (
        datetime.now(UTC)
        < datetime.fromisoformat(waits["acme"]["until"])
        < datetime.now(UTC) + timedelta(minutes=2)
    )
