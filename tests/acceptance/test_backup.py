"""`oktawatch db backup` and `db check`, and the drill of docs/backup.md: restore a backup beside a running org."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from oktawatch.model.timestamps import utc_now
from oktawatch.simulator import SimulatedOrg, running
from tests.support.http import HttpReceiver, receiving
from tests.support.logclient import event
from tests.support.places import Kind, place_of
from tests.support.program import Program, errors

KEY = "Idempotency-Key"


def sign_in(org: SimulatedOrg, number: int) -> None:
    """Add a sign-in of another person through an anonymizer."""
    org.persist(
        event(
            number,
            utc_now() - timedelta(seconds=30),
            actor={"id": f"00u{number}", "alternateId": f"u{number}@example.com"},
            client={"ipAddress": "203.0.113.7"},
            outcome={"result": "SUCCESS"},
            securityContext={"isProxy": True},
        )
    )


def received_messages(hook: HttpReceiver) -> list[tuple[str, str]]:
    """Return the person and the key of each message, in the order of their arrival."""
    return [(request.json["alert"]["actor_alternate_id"], request.headers[KEY]) for request in hook.received]


def test_the_restore_drill(program: Program) -> None:
    """A restored backup continues without loss. Messages sent since the backup are sent again under the same key."""
    org = SimulatedOrg()
    with running(org) as url, receiving() as hook:
        more = f'[[notifiers]]\nname = "soc"\ntype = "webhook"\nurl = "{hook.url}"\n'
        program.configure(("acme", url, org.token), more=more)
        sign_in(org, 0)
        assert program.run("run", "--once").returncode == 0
        copy = program.json("db", "backup", "copy.db")
        assert copy == {"file": "copy.db", "bytes": (program.folder / "copy.db").stat().st_size}
        sign_in(org, 1)
        assert program.run("run", "--once").returncode == 0
        before = received_messages(hook)

        for path in program.folder.glob("oktawatch.db*"):
            path.unlink()
        shutil.copy(program.folder / "copy.db", program.folder / "oktawatch.db")
        assert program.json("db", "check")["ok"]
        sign_in(org, 2)
        assert program.run("run", "--once").returncode == 0
        since = received_messages(hook)[len(before) :]

    people = program.rows("SELECT actor_alternate_id, event_count FROM alerts ORDER BY 1")
    assert people == [(f"u{number}@example.com", 1) for number in range(3)]
    assert [person for person, _ in before] == ["u0@example.com", "u1@example.com"]
    assert [person for person, _ in since] == ["u1@example.com", "u2@example.com"]
    assert since[0] == before[1]


def test_the_output_of_backup_and_check(program: Program) -> None:
    """Both commands print their results, and a second backup to the same file is refused."""
    program.configure(("acme", "http://127.0.0.1:9", "00secret-token"))
    assert program.run("db", "upgrade").returncode == 0
    done = program.run("db", "backup", "copy.db")
    assert done.stdout.startswith("copy.db: ")
    assert done.stdout.endswith(" bytes, checked\n")
    again = program.run("db", "backup", "copy.db")
    assert again.returncode == 2
    assert errors(again.stderr) == [
        "error: the file exists (db backup copy.db): use another name, or move it away"
    ]
    checked = program.run("db", "check").stdout
    assert [line.split()[:2] for line in checked.splitlines()[1:4]] == [
        ["ok", "file"],
        ["ok", "schema"],
        ["ok", "references"],
    ]
    assert "events" in checked


def test_a_failed_check(program: Program) -> None:
    """A changed schema causes exit code 1."""
    program.configure(("acme", "http://127.0.0.1:9", "00secret-token"))
    assert program.run("db", "upgrade").returncode == 0
    program.change("ALTER TABLE orgs ADD COLUMN mine INTEGER")
    done = program.run("db", "check")
    assert done.returncode == 1
    assert "failed" in done.stdout
    assert "orgs.mine" in done.stdout


@pytest.mark.parametrize("kind", [Kind.POSTGRES])
def test_postgres_has_its_own_tool(kind: Kind, tmp_path: Path) -> None:
    """A backup of Postgres is refused with the command that makes one, without a password."""
    with place_of(kind, tmp_path) as place:
        program = Program(tmp_path, place)
        program.configure(
            ("acme", "http://127.0.0.1:9", "00secret-token"), more=f'[database]\nurl = "{place.url}"\n'
        )
        done = program.run("db", "backup", "copy.dump")
        assert done.returncode == 2
        assert "pg_dump --format=custom --file=copy.dump" in done.stderr
        assert program.json("db", "check")["ok"]
