"""`alerts export` in pipes and cron jobs."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, open_database
from tests.support.places import Kind, Place, place_of
from tests.support.program import Program, errors
from tests.support.streams import event, page

ACME = (ORG, "https://acme.okta.com", "t0ken")
RULES = build_rules({}, read_file=str)


def commit(database: Database, number: int, name: str = "Nora Vale") -> None:
    """Commit a sign-in of another person."""
    sign_in = event(
        number,
        at=timedelta(minutes=number),
        actor={"id": f"00u{number}", "alternateId": f"q{number}@example.com", "displayName": name},
    )
    commit_page(
        database,
        Watch(org=ORG, rules=RULES),
        page([sign_in]),
        notify=False,
        advance=lambda *_: None,
        now=NOW,
    )


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database with two alerts."""
    with open_database(place) as made:
        commit(made, 1)
        commit(made, 2, name="=cmd|' /C calc'!A0")
        yield made


@pytest.fixture
def program(place: Place, database: Database) -> Program:  # noqa: ARG001 -- the database must exist
    """Return a program that uses it."""
    found = Program(place.folder, place)
    found.configure(ACME)
    return found


def lines(program: Program, *options: str) -> list[dict[str, Any]]:
    """Return the documents that an export prints."""
    done = program.run("alerts", "export", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_format_has_a_line_for_each_alert(program: Program) -> None:
    """Each format has a line for each alert, in the order of their ids."""
    jsonl = lines(program)
    assert [alert["actor_alternate_id"] for alert in jsonl] == ["q1@example.com", "q2@example.com"]
    assert jsonl[0]["rule_name"] == "Okta Sign-In from VPN Anonymizer"
    assert jsonl[0]["url"].startswith("https://acme-admin.okta.com/")
    assert len(jsonl[0]["events"]) == 1
    ecs = lines(program, "--format", "ecs")
    assert [document["user"]["name"] for document in ecs] == ["q1@example.com", "q2@example.com"]
    assert len({document["event"]["id"] for document in ecs}) == 2
    ocsf = lines(program, "--format", "ocsf")
    assert [document["type_uid"] for document in ocsf] == [200401, 200401]
    assert ocsf[0]["finding_info"]["uid"] == ecs[0]["oktawatch"]["alert"]["incident"]
    printed = program.run("alerts", "export", "--format", "csv").stdout
    first, second = csv.DictReader(printed.splitlines())
    assert first["actor_alternate_id"] == "q1@example.com"
    assert second["actor_display_name"] == "'=cmd|' /C calc'!A0"
    assert not {"context", "events"} & first.keys()


def test_the_filters_of_the_list_apply(program: Program) -> None:
    """The filters are those of `alerts list`."""
    assert [alert["id"] for alert in lines(program, "--actor", "q2@*")] == [2]
    assert lines(program, "--severity", "CRITICAL") == []
    wrong = program.run("alerts", "export", "--org", "acmee")
    assert (wrong.returncode, errors(wrong.stderr)) == (
        2, ["error: no such org (--org acmee): did you mean acme? there are: acme"],
    )  # fmt: skip


def test_each_run_exports_only_changes(program: Program, database: Database) -> None:
    """Each run goes on where the last one ended, and a decision of a person is a change."""
    options = ("--format", "ocsf", "--since-last", "siem.state")
    assert [document["unmapped"]["id"] for document in lines(program, *options)] == [1, 2]
    assert lines(program, *options) == []
    commit(database, 3)
    assert program.run("alerts", "close", "1", "--as", "benign").returncode == 0
    closed, opened = lines(program, *options)
    assert (closed["unmapped"]["id"], closed["activity_name"], closed["verdict"]) == (1, "Close", "Benign")
    assert (opened["unmapped"]["id"], opened["activity_name"]) == (3, "Create")
    assert lines(program, *options) == []
    assert [path.name for path in program.folder.glob("*siem.state*")] == ["siem.state"]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Program]:
    """Yield a program with a local database with two alerts."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        commit(database, 1)
        commit(database, 2)
        program = Program(tmp_path, place)
        program.configure(ACME)
        yield program


def into(program: Program, command: str) -> "subprocess.CompletedProcess[str]":
    """Run an export in a shell command, where it is named $EXPORT."""
    export = f"{sys.executable} -m oktawatch alerts export --since-last state"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('$EXPORT', export)}"],
        cwd=program.folder,
        env=program.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_full_disk_repeats_the_export(local: Program) -> None:
    """The state file is written only if the lines were."""
    done = into(local, "$EXPORT > /dev/full")
    assert done.returncode == 1
    assert errors(done.stderr) == done.stderr.splitlines()
    assert "no space left on device" in done.stderr
    assert not (local.folder / "state").exists()
    assert len(lines(local, "--since-last", "state")) == 2


def test_a_closed_pipe_is_no_error(local: Program) -> None:
    """The export ends quietly and is repeated by the next run."""
    done = into(local, "$EXPORT | true")
    assert (done.returncode, done.stderr) == (141, "")
    assert not (local.folder / "state").exists()


def test_a_state_file_belongs_to_one_export(local: Program) -> None:
    """A state file of an export with another format or filter is refused."""
    assert len(lines(local, "--since-last", "state")) == 2
    for options in (("--format", "ecs"), ("--severity", "HIGH")):
        done = local.run("alerts", "export", "--since-last", "state", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert errors(done.stderr) == [
            "error: the state file belongs to an export with other options (--since-last state): use a separate file for each export"
        ]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b'{"export": {}, "changes": {"acme": "x"}}']
)
def test_a_damaged_state_file_is_refused(local: Program, content: bytes) -> None:
    """With a damaged state file, nothing is printed, and the error says what to do."""
    (local.folder / "state").write_bytes(content)
    done = local.run("alerts", "export", "--since-last", "state")
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = errors(done.stderr)
    assert error.startswith("error: not a state file (--since-last state): ")


def test_a_missing_folder_is_found_before_the_export(local: Program) -> None:
    """An export whose state can't be stored prints nothing."""
    done = local.run("alerts", "export", "--since-last", "nowhere/state")
    assert (done.returncode, done.stdout) == (2, "")
    assert errors(done.stderr) == ["error: no such folder (--since-last nowhere/state): create it"]
