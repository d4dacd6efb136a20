"""`oktawatch db prune`, run by a person and killed."""

import json
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.timestamps import utc_now
from oktawatch.store.crashpoints import VARIABLE
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, open_database, outcome, rows
from tests.support.places import Kind, Place
from tests.support.program import Program, errors
from tests.support.streams import event, page

DAY = timedelta(days=1)
ENABLED = '[detection]\nenable = ["*"]\n'
TABLES = ("alerts", "matches", "notifications", "signals", "events", "history")
OLD, NEW = 5, 3


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database with rows of more than a year ago and of yesterday."""
    watch = Watch(
        org=ORG, rules=build_rules({}, enable=["*"], read_file=str), routes=(Route(notifier="soc"),)
    )
    today = utc_now() - NOW
    with open_database(place) as made:
        for first, count, age in ((0, OLD, 500), (OLD, NEW, 1)):
            events = [
                event(
                    number,
                    at=today - age * DAY + number * timedelta(minutes=1),
                    actor={"id": f"00u{number}", "alternateId": f"u{number}@example.com"},
                    outcome={"result": "SUCCESS"},
                )
                for number in range(first, first + count)
            ]
            commit_page(made, watch, page(events), notify=True, advance=lambda *_: None, now=NOW)
        yield made


@pytest.fixture
def program(place: Place) -> Program:
    """Run oktawatch on that database."""
    made = Program(place.folder, place)
    made.configure((ORG, "http://127.0.0.1:9", "00secret-token"), more=ENABLED)
    return made


def counts(database: Database) -> dict[str, int]:
    """Count the rows."""
    return {name: len(rows(database, name)) for name in TABLES}


def test_a_dry_run_counts_the_deleted_rows(program: Program, database: Database) -> None:
    """A dry run deletes nothing and prints the numbers that pruning deletes. A second run finds nothing."""
    before = outcome(database)
    dry = program.json("db", "prune", "--dry-run")
    assert outcome(database) == before
    shown = program.run("db", "prune", "--dry-run").stdout
    done = program.json("db", "prune")
    again = program.json("db", "prune")
    assert (dry["dry_run"], done["dry_run"]) == (True, False)
    assert dry["rows"] == done["rows"]
    assert done["rows"] == {
        "alerts": 2 * OLD, "matches": 2 * OLD, "notifications": 2 * OLD, "events": OLD, "rejected_events": 0,
        "backfills": 0, "leases": 0, "alert_actions": 0, "sightings": OLD, "counted_sign_ins": 0,
        "allowed_matches": 0, "familiar_days": 0,
    }  # fmt: skip
    assert set(again["rows"].values()) == {0}
    assert counts(database) == {
        "alerts": 2 * NEW, "matches": 2 * NEW, "notifications": 2 * NEW, "signals": NEW, "events": NEW,
        "history": NEW,
    }  # fmt: skip
    assert [line.split() for line in shown.splitlines()[:2]] == [
        ["TABLE", "WOULD", "BE", "DELETED"],
        ["alerts", f"{2 * OLD}"],
    ]


def test_a_killed_pruning_is_continued_by_the_next_run(program: Program, database: Database) -> None:
    """A killed pruning deletes complete transactions only, and leaves no match without its alert."""
    for point in (
        "before DELETE matches", "after DELETE matches", "after DELETE notifications", "after DELETE alerts",
        "before COMMIT 4", "after INSERT pruned_history", "after DELETE events", "before DELETE rejected_events",
    ):  # fmt: skip
        killed = program.run("db", "prune", **{VARIABLE: point})
        assert killed.returncode == -signal.SIGKILL, point
        alerts = {alert["id"] for alert in rows(database, "alerts")}
        assert {match["alert_id"] for match in rows(database, "matches")} == alerts
        assert {notification["alert_id"] for notification in rows(database, "notifications")} == alerts
    program.json("db", "prune")
    assert set(program.json("db", "prune", "--dry-run")["rows"].values()) == {0}
    assert [counts(database)[name] for name in ("alerts", "signals", "events", "history")] == [
        2 * NEW, NEW, NEW, NEW,
    ]  # fmt: skip


def test_a_broken_rule_prevents_pruning(program: Program, database: Database) -> None:
    """A broken rule prevents pruning, because the history that it needs is unknown."""
    folder = program.folder / "rules"
    folder.mkdir(mode=0o755)
    (folder / "broken.py").write_text("import nothing_of_the_kind\n")
    before = counts(database)
    program.configure((ORG, "http://127.0.0.1:9", "00secret-token"), more=f'{ENABLED}rules_dir = "rules"\n')
    done = program.run("db", "prune")
    (error,) = errors(done.stderr)
    assert done.returncode == 2
    assert "broken.py, line 1" in error
    assert counts(database) == before


def test_pruning_creates_no_database(program: Program, place: Place) -> None:
    """Without a database or schema, `db prune` prints which command to run."""
    place.wipe()
    done = program.run("db", "prune")
    (error,) = errors(done.stderr)
    assert done.returncode == (2 if place.kind is Kind.SQLITE else 1)
    assert "run 'oktawatch " in error


def test_retention_is_configurable(program: Program, database: Database) -> None:
    """Both retentions are configurable, and a value that is too short is refused with one line."""
    short = '[retention]\nevents = "2d"\nalerts = "600d"\n'
    program.configure((ORG, "http://127.0.0.1:9", "00secret-token"), more=ENABLED + short)
    found = json.loads(program.run("db", "prune", "--dry-run", "--json").stdout)["rows"]
    assert (found["alerts"], found["events"]) == (0, OLD)
    program.configure((ORG, "http://127.0.0.1:9", "00secret-token"), more='[retention]\nalerts = "99d"\n')
    (error,) = errors(program.run("db", "prune").stderr)
    assert "retention.alerts): expected at least 100d" in error
    assert len(rows(database, "alerts")) == 2 * (OLD + NEW)
