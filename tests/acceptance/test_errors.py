"""Errors are one line, and the exit code shows whether a person must act."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.places import Kind, Place, place_of
from tests.support.program import Program, errors

LOOPBACK = "http://127.0.0.1:9"

BAD = {
    "unknown key": ('[poll]\ninterwal = "30s"\n', ("acme", LOOPBACK, "00token"), "poll.interwal"),
    "http off loopback": ("", ("acme", "http://acme.okta.example.com", "00token"), "url"),
    "missing token": ("", ("acme", LOOPBACK, ""), "token"),
    "unknown rule": ('[rules."No.Such.Rule"]\nenabled = true\n', ("acme", LOOPBACK, "00token"), "No.Such.Rule"),
    "nonsense for a rule": (
        '[rules."Okta.Anonymizing.VPN.Login"]\nthreshold = 0\n', ("acme", LOOPBACK, "00token"), "threshold"
    ),
    "unusable database": ('[database]\nurl = "nonsense"\n', ("acme", LOOPBACK, "00token"), "database.url"),
}  # fmt: skip
READING = [("run",), ("run", "--once"), ("backfill", "--since", "7d")]


@contextmanager
def refused_port() -> Iterator[int]:
    """Yield a port on which nothing listens, and reserve it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize(("more", "org", "named"), BAD.values(), ids=BAD)
def test_bad_configuration(
    program: Program, command: tuple[str, ...], more: str, org: tuple[str, str, str], named: str
) -> None:
    """A configuration that can't be used is one line that names the key, exit 2, and nothing is written."""
    path = program.configure(org, more=more)
    before = files(program.folder)

    done = program.run(*command)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == errors(done.stderr)
    [line] = errors(done.stderr)
    assert named in line
    assert str(path) in line
    assert files(program.folder) == before


@pytest.mark.parametrize("command", READING[1:], ids=" ".join)
def test_refused_token(program: Program, command: tuple[str, ...]) -> None:
    """A refused token causes exit code 1 and one line that says what to do, without the token."""
    with running(SimulatedOrg()) as url:
        program.configure(("acme", url, "00wrong-token"))
        done = program.run(*command)

    [line] = errors(done.stderr)
    assert "token" in line
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "00wrong-token" not in done.stderr + done.stdout


@pytest.mark.parametrize("command", READING[1:], ids=" ".join)
def test_unreachable_host(program: Program, command: tuple[str, ...]) -> None:
    """An unreachable host causes exit code 1 and one line that names it."""
    with refused_port() as port:
        program.configure(("acme", f"http://127.0.0.1:{port}", "00token"))
        done = program.run(*command)

    [line] = errors(done.stderr)
    assert f"127.0.0.1:{port}" in line
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_status_shows_a_failing_org(place: Place) -> None:
    """`status` ends with 0 for an org that was polled well, and with 1 and the reason once a poll fails."""
    program = Program(place.folder, place)
    org = SimulatedOrg()
    with running(org) as url:
        program.configure(("acme", url, org.token))
        program.run("run", "--once")
        good = program.run("status")
        org.token = "00renewed"
        program.run("run", "--once")
        bad = program.run("status")

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "ok" in good.stdout
    assert "failing" in bad.stdout
    assert "acme: the last poll failed: Okta refuses the token" in bad.stderr


LOOKING = [("status",), ("alerts", "list"), ("alerts", "show", "1"), ("db", "current")]


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_reading_commands_create_no_schema(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A command that reads a server's empty database prints which command to run, and creates no schema."""
    with place_of(Kind.POSTGRES, tmp_path, schema=False) as place:
        program = Program(tmp_path, place)
        program.configure(("acme", LOOPBACK, "00token"))
        done = program.run(*command)
        assert not place.has("alembic_version")

    [line] = errors(done.stderr)
    assert "oktawatch db upgrade" in line
    assert done.returncode == 1


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_reading_commands_create_no_database(program: Program, command: tuple[str, ...]) -> None:
    """Without a database, a command that reads it prints which command to run, and creates none."""
    program.configure(("acme", LOOPBACK, "00token"))
    before = files(program.folder)

    done = program.run(*command)

    [line] = errors(done.stderr)
    assert "oktawatch db upgrade" in line
    assert done.returncode == 1
    assert files(program.folder) == before


def test_reading_commands_need_no_token(program: Program) -> None:
    """Commands that read only the database need no permission to read the token."""
    path = program.configure()
    path.write_text(f'[[orgs]]\nname = "acme"\nurl = "{LOOPBACK}"\ntoken_file = "not-for-you.token"\n')

    assert program.run("db", "upgrade").returncode == 0
    for command in (("alerts", "list"), ("notifications", "list"), ("rules", "list"), ("db", "prune")):
        assert program.run(*command).returncode == 0, command
    assert "acme: it was never polled" in program.run("status").stderr
    assert "not-for-you.token" in program.run("run", "--once").stderr


def test_debug_shows_the_traceback(program: Program) -> None:
    """Only --debug shows the traceback, in addition to the one-line error."""
    program.configure(("acme", "http://acme.okta.example.com", "00secret-token"))

    done = program.run("status", "--debug")

    assert "Traceback" in done.stderr
    assert len(errors(done.stderr)) == 1
    assert "00secret-token" not in done.stderr
