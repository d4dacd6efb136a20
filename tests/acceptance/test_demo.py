"""The demo, which new users try first."""

import json
import re
import shutil
import signal
import subprocess

import pytest

from tests.support.program import Program, errors, eventually

FOREIGN = {
    "OKTA_CLIENT_ORGURL": "http://elsewhere.example.com",
    "OKTA_CLIENT_TOKEN": "00somebody-elses",
    "OKTAWATCH_CONFIG": "/nowhere/oktawatch.toml",
    "OKTAWATCH__POLL__INTERVAL": "nonsense",
}


def pasted(line: str, program: Program) -> list[str]:
    """Run a printed line in a shell; return its output."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=program.folder,
        env=program.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_demo_shows_alerts_and_working_commands(program: Program) -> None:
    """Alerts appear on the screen with any environment variables, and every printed command works."""
    done = program.run("demo", **FOREIGN)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = re.search(r"(\d+) sign-ins read, (\d+) alerts", done.stdout)
    assert found
    alerts = int(found[2])
    assert alerts > 0
    assert "MEDIUM" in done.stdout
    python = re.search(r"^ +(python3 -c .*)$", done.stdout, re.MULTILINE)
    sqlite = re.search(r"^ +(sqlite3 .*)$", done.stdout, re.MULTILINE)
    listing = re.search(r"^ +(\S.* alerts list .*)$", done.stdout, re.MULTILINE)
    assert python
    assert sqlite
    assert listing
    assert len(pasted(python[1], program)) == alerts
    assert len(pasted(listing[1], program)) == alerts + 1
    if shutil.which("sqlite3"):
        assert len(pasted(sqlite[1], program)) == alerts + 2  # a heading of two lines
    assert (program.folder / "oktawatch-demo" / "demo.token").stat().st_mode & 0o777 == 0o600


def test_the_demo_with_all_rules_has_matches_of_each(program: Program) -> None:
    """The demo shows a line for each rule, except the rule that raises no alerts."""
    done = program.run("demo", "--all-rules")

    assert done.returncode == 0, done.stderr
    listed = json.loads(
        program.run("rules", "list", "--json", "--config", "oktawatch-demo/oktawatch.toml").stdout
    )
    assert all(rule["enabled"] for rule in listed)
    assert set(re.findall(r"Okta\.[A-Z]\S+", done.stdout)) == {
        rule["id"] for rule in listed if not rule["signal"]
    }


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_the_demo_changes_no_other_files(program: Program, kind: str) -> None:
    """A file or folder with the demo's name that no demo created is unchanged, and the exit code is 2."""
    own = program.folder / "own"
    own.mkdir()
    (own / "notes.txt").write_text("mine", "utf-8")
    (own / ".oktawatch-demo").touch()
    path = program.folder / "oktawatch-demo"
    if kind == "folder":
        (own / ".oktawatch-demo").unlink()
        own.rename(path)
    elif kind == "file":
        path.write_text("mine", "utf-8")
    else:
        path.symlink_to(own)

    done = program.run("demo")

    assert done.returncode == 2
    assert len(errors(done.stderr)) == 1
    assert (
        path.read_text("utf-8") == "mine"
        if kind == "file"
        else (path / "notes.txt").read_text("utf-8") == "mine"
    )


def test_ctrl_c_ends_the_demo_and_its_daemon(program: Program) -> None:
    """Ctrl-C ends both processes with 130 and without a traceback. The next demo recreates the folder."""
    folder = program.folder / "oktawatch-demo"
    log = folder / "oktawatch.log"
    with program.started("demo") as demo:
        eventually(log.exists)
        demo.send_signal(signal.SIGINT)
        output, error = demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert "Traceback" not in output + error + log.read_text("utf-8")
    (folder / "oktawatch.db").write_text("no database at all", "utf-8")
    done = program.run("demo")
    assert done.returncode == 0, "the folder is free again, and its database has no daemon"
    assert program.rows("SELECT count(*) > 0 FROM alerts", "oktawatch-demo/oktawatch.db") == [(1,)]
