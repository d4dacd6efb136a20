"""The program in a separate interpreter, as people start it.

All other tests fork their programs from a process that has imported everything (tests/support/launch.py). These tests show that
each command imports what it needs, and behaves like the forked one.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, build, running
from tests.support import launch
from tests.support.daemon import Daemon
from tests.support.program import PATIENCE, Program

SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a configuration and a database with alerts."""
    found = tmp_path_factory.mktemp("cold")
    org = SimulatedOrg()
    org.play(build(["anonymizing-vpn"], start=org.now(), rate=10))
    with running(org) as url:
        program = Program(found)
        program.configure(("acme", url, org.token))
        assert program.run("backfill", "--since", "1d").returncode == 0
        assert program.run("run", "--once").returncode == 0
        yield found


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("run", "--once"),
        ("backfill", "--since", "{an_hour_ago}", "--until", "{now}"),
        ("rules", "replay", "--rule", "Okta.Login.Success", "--since", "{an_hour_ago}", "--until", "{now}"),
        ("db", "prune", "--dry-run"),
        ("alerts", "list", "--json"),
        ("notifications", "list", "--json"),
        ("rules", "show", "Okta.Multiple.Sessions"),
        ("db", "current"),
        ("alerts", "list", "--nonsense"),
    ],
    ids=" ".join,
)
def test_a_command_behaves_like_the_forked_one(folder: Path, command: tuple[str, ...]) -> None:
    """Exit code and result equal those of the forked program, which reads the same time range a few seconds later."""
    now = datetime.now(UTC)
    words = [
        word.format(an_hour_ago=(now - timedelta(hours=1)).isoformat(), now=now.isoformat())
        for word in command
    ]
    cold, forked = (Program(folder, cold=cold).run(*words) for cold in (True, False))
    assert (forked.returncode, forked.stdout) == (cold.returncode, cold.stdout), (forked.stderr, cold.stderr)
    assert bool(forked.stderr) == bool(cold.stderr)
    assert "Traceback" not in cold.stderr


def test_the_daemon_behaves_like_the_forked_one(tmp_path: Path) -> None:
    """The daemon starts, polls, raises alerts, and ends with 0 on SIGTERM."""
    org = SimulatedOrg()
    org.play(build(["anonymizing-vpn"], start=org.now(), rate=10))
    for cold in (True, False):
        folder = tmp_path / str(cold)
        folder.mkdir()
        with running(org) as url:
            text = f'{SETTINGS}[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{org.token}"\n'
            with Daemon(folder, text, cold=cold) as daemon:
                assert daemon.logged("alert_opened")
                assert daemon.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_forked_program_alike(tmp_path: Path, number: signal.Signals) -> None:
    """A forked program is our child, in our process group, and a signal ends it with the same exit code."""
    events = tmp_path / "none.ndjson"
    events.touch()
    ended = []
    for cold in (True, False):
        with Program(tmp_path, cold=cold).started("simulate", "--events", str(events)) as process:
            assert process.stdout
            assert process.stdout.readline()
            assert os.getpgid(process.pid) == os.getpgid(0)
            process.send_signal(number)
            ended.append(process.wait(PATIENCE))
    assert ended[0] == ended[1]


def test_a_closed_pipe_ends_a_command_without_traceback(folder: Path) -> None:
    """A command whose output is a closed pipe ends without a traceback."""
    ended = []
    for cold in (True, False):
        reading, writing = os.pipe()
        os.close(reading)
        process = launch.launch(
            ["rules", "list"], environ=launch.environment(), cwd=folder, cold=cold,
            stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(writing)
        _, said = process.communicate(timeout=PATIENCE)
        ended.append((process.returncode, said))
    assert ended[0] == ended[1]
