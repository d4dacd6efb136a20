"""Backfills: interrupted, of several orgs, and without notifications."""

import os
import pty
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, generate, running
from oktawatch.store.crashpoints import VARIABLE
from tests.support import launch
from tests.support.places import Place
from tests.support.program import Program, errors, eventually

NOW = datetime.now(UTC)
EVENTS = 60


@pytest.fixture
def program(place: Place) -> Program:
    """Run oktawatch in a folder, on either database."""
    return Program(place.folder, place)


def org_with_events(count: int = EVENTS, *, rate_limit: int | None = None) -> SimulatedOrg:
    """Create an org with sign-ins that are still within the last day at the end of a slow test."""
    org = SimulatedOrg(rate_limit=rate_limit)
    org.extend(generate(count, end=NOW, span=timedelta(hours=20)))
    return org


def pages(program: Program) -> int:
    """Return the number of committed pages of a backfill."""
    if program.place is None or not program.place.has("backfills"):
        return 0
    return sum(count for (count,) in program.rows("SELECT pages FROM backfills"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_backfill_continues(program: Program, number: signal.Signals) -> None:
    """After an interruption with exit code 130, the same command reads only the pages that are missing."""
    # The program may use three of these requests, so the fourth page waits long enough to be interrupted.
    org = org_with_events(rate_limit=8)
    command = ("backfill", "--since", "1d")
    with running(org) as url:
        program.configure(("acme", url, org.token), more="[poll]\npage_size = 10\n")
        with program.started(*command) as backfill:
            eventually(lambda: pages(program) == 3)
            backfill.send_signal(number)
            _, stderr = backfill.communicate(timeout=30)
        org.budget.limit = None
        summary = program.json(*command)

    assert backfill.returncode == 130
    assert "run the same command within 24 hours to resume" in stderr
    assert "Traceback" not in stderr
    assert (summary["pages"], summary["new_events"]) == (3, EVENTS - 30)
    assert program.rows("SELECT count(*) FROM events") == [(EVENTS,)]


def test_a_backfill_is_killed_while_it_fills_in_history(program: Program, place: Place) -> None:
    """A killed backfill completes each page of an older version or leaves it unchanged, and counts no event twice."""
    org = org_with_events()
    command = ("backfill", "--since", "1d")
    left = "SELECT count(*), count(fields), count(signals), (SELECT events_seen FROM orgs) FROM events"
    with running(org) as url:
        program.configure(("acme", url, org.token))
        program.json(*command)
        place.run("UPDATE events SET fields = NULL")  # older versions stored only what a rule looked back at
        (before,) = program.rows(left)
        assert before == (EVENTS, 0, 0, EVENTS)
        program.configure(("acme", url, org.token), more='[detection]\nenable = ["*"]\n')
        for point in ("before INSERT events", "after INSERT events", "before COMMIT 2"):
            killed = program.run(*command, **{VARIABLE: point})
            assert killed.returncode == -signal.SIGKILL, point
            assert program.rows(left) == [before], point
        summary = program.json(*command)
    (signalled,) = program.rows("SELECT count(*) FROM history WHERE outcome = 'SUCCESS'")
    assert summary["new_events"] == 0
    assert program.rows(left) == [(EVENTS, EVENTS, *signalled, EVENTS)]
    assert 0 < signalled[0] < EVENTS


def test_a_failing_org_stops_no_other(program: Program) -> None:
    """If one org fails, the others are read completely; the exit code is 1 and the error names the org."""
    org = org_with_events()
    with running(org) as url:
        program.configure(("one", url, org.token), ("two", url, "00wrong"), ("three", url, org.token))
        done = program.run("backfill", "--since", "1d")

    [line] = errors(done.stderr)
    assert "two" in line
    assert done.returncode == 1
    assert program.rows("SELECT org, count(*) FROM events GROUP BY org ORDER BY org") == [
        ("one", EVENTS),
        ("three", EVENTS),
    ]


def test_only_the_named_orgs_are_read(program: Program) -> None:
    """--org reads only the named orgs, and an unknown org is a usage error."""
    org = org_with_events()
    with running(org) as url:
        program.configure(("one", url, org.token), ("two", url, org.token))
        summary = program.json("backfill", "--since", "1d", "--org", "two")
        wrong = program.run("backfill", "--since", "1d", "--org", "three")

    assert [one["org"] for one in summary["orgs"]] == ["two"]
    assert wrong.returncode == 2
    assert errors(wrong.stderr) == ["error: no such org (--org three): there are: one, two"]


def test_a_dry_run_stores_nothing(program: Program, place: Place) -> None:
    """A dry run prints the alerts that a backfill would raise. It needs no database and stores nothing."""
    place.wipe()
    org = org_with_events(2_000)
    with running(org) as url:
        program.configure(("acme", url, org.token))
        before = sorted(program.folder.iterdir())
        dry = program.json("backfill", "--since", "1d", "--dry-run")
        assert sorted(program.folder.iterdir()) == before
        wet = program.json("backfill", "--since", "1d")
        alerts = program.json("alerts", "list", "--limit", "100000")

    same = ("events", "new_events", "matches", "alerts", "severities")
    assert {name: dry[name] for name in same} == {name: wet[name] for name in same}
    assert wet["alerts"] == len(alerts) > 0
    assert [one["title"] for one in dry["would_alert"]] == [one["title"] for one in alerts]


def test_a_backfill_notifies_only_if_asked(program: Program) -> None:
    """Only --notify sends notifications, also about alerts that an earlier backfill without it has recorded."""
    org = org_with_events(2_000)
    with running(org) as url:
        program.configure(("acme", url, org.token))
        silent = program.json("backfill", "--since", "1d")
        notified = program.json("backfill", "--since", "1d", "--notify")
        assert program.rows("SELECT DISTINCT state FROM notifications") == [("sent",)]
        once = program.json("run", "--once")

    assert silent["alerts"] > 0
    assert silent["notifications"] == 0
    assert notified["alerts"] == 0
    assert notified["notifications"] > 0
    assert notified["delivered"] == notified["notifications"]
    assert once["delivered"] == 0


def test_a_backfill_of_more_than_90_days_warns(program: Program) -> None:
    """A backfill from more than 90 days ago reads the 90 days that Okta keeps, with a warning."""
    org = org_with_events()
    with running(org) as url:
        program.configure(("acme", url, org.token))
        done = program.run("backfill", "--since", "120d")

    assert done.returncode == 0
    assert "backfill_clamped" in done.stderr
    assert org.requests[0].status == 200


def test_progress_on_a_terminal(program: Program) -> None:
    """On a terminal, standard error shows a progress bar with rate and remaining time, and not the result."""
    org = org_with_events()
    ours, theirs = pty.openpty()
    with running(org) as url:
        program.configure(("acme", url, org.token), more="[poll]\npage_size = 10\n")
        done = launch.run(
            ("backfill", "--since", "1d", "--json"),
            cwd=program.folder,
            environ=program.environment | {"TERM": "xterm", "COLUMNS": "120"},
            text=False,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
        )
    os.close(theirs)
    drawn = os.read(ours, 1_000_000).decode()
    os.close(ours)

    assert done.returncode == 0
    assert "acme" in drawn
    assert "100%" in drawn
    assert f"{EVENTS} events" in drawn
    assert "/s, 0:00:00 left" in drawn
    assert b"\x1b" not in done.stdout


def test_since_must_come_before_until(program: Program, place: Place, tmp_path: Path) -> None:
    """An invalid time span is a usage error, even without a configuration, and creates no file."""
    place.wipe()
    later = (NOW + timedelta(days=2)).date().isoformat()  # tomorrow, even if midnight passes meanwhile
    for command in (("--since", later), ("--since", "1d", "--until", "2d"), ("--since", "yesterday")):
        done = program.run("backfill", *command)
        assert done.returncode == 2
        assert len(errors(done.stderr)) == 1
        assert "--since" in done.stderr
    assert list(tmp_path.iterdir()) == []
