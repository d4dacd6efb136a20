"""`oktawatch init`: from nothing to a configuration that works."""

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, build, running
from tests.support import launch
from tests.support.program import PATIENCE, Program, errors


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org in which somebody signs in through a VPN."""
    made = SimulatedOrg()
    made.play(build(["anonymizing-vpn"], start=made.now(), rate=10))
    return made


@pytest.fixture
def url(org: SimulatedOrg) -> Iterator[str]:
    """Serve the org."""
    with running(org) as served:
        yield served


def init(program: Program, *words: str, token: str) -> "subprocess.CompletedProcess[str]":
    """Run `oktawatch init` with a token on standard input."""
    return launch.run(
        ["init", *words, "--token", "-"],
        typed=f"{token}\n", cwd=program.folder, environ=program.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
    )  # fmt: skip


def files(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", ["", "new/watch"])
def test_init_writes_a_working_configuration(
    program: Program, org: SimulatedOrg, url: str, folder: str
) -> None:
    """The files are private, the checks pass, and each printed command works."""
    done = init(program, *([folder] if folder else []), "--url", f"{url}/admin", token=org.token)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == f"using {url}\n"
    assert org.token not in done.stdout
    assert "its System Log can be read" in done.stdout
    where = program.folder / folder
    assert files(program.folder) == {str(Path(folder) / name) for name in ("oktawatch.toml", "okta.token")}
    assert [(where / name).stat().st_mode & 0o777 for name in ("oktawatch.toml", "okta.token")] == [0o600] * 2
    steps = [shlex.split(line, comments=True) for line in done.stdout.partition("Next:\n")[2].splitlines()]
    dry_run, run = (step[step.index("oktawatch") + 1 :] for step in steps)
    assert run[0] == "run"
    assert "HIGH" in program.run(*dry_run).stdout
    assert program.run(*run, "--once").returncode == 0


@pytest.mark.parametrize("existing", ["oktawatch.toml", "okta.token"])
def test_init_overwrites_nothing(program: Program, existing: str) -> None:
    """If one of the two files exists, neither is written."""
    (program.folder / existing).write_text("precious", "utf-8")

    done = init(program, "--url", "https://acme.okta.com", token="00invented")

    assert done.returncode == 2
    assert errors(done.stderr) == [
        f"error: already exists ({existing}): move it away first, because no file is overwritten"
    ]
    assert files(program.folder) == {existing}
    assert (program.folder / existing).read_text("utf-8") == "precious"


def test_a_refused_token(program: Program, url: str) -> None:
    """The files are kept, and the error says which command to run after the correction."""
    done = init(program, "--url", url, token="00wrong")

    assert done.returncode == 1
    assert "the token" in done.stdout
    assert errors(done.stderr)[0].startswith("error: a check failed (oktawatch.toml): correct it, then run '")
    assert files(program.folder) == {"oktawatch.toml", "okta.token"}
    assert "Next:" not in done.stdout


@pytest.mark.parametrize(
    ("words", "token", "error"),
    [
        (["--url", "http://acme.okta.com"], "00a", "wrong value (--url): expected an https URL"),
        (["--url", "https://acme.okta.com"], "", "wrong value (--token): expected a secret, not an empty value"),
        (["--url", "https://acme.okta.com"], "00a b", "wrong value (--token): expected a secret without spaces"),
        (["--url", "https://acme.okta.com"], "00é", "wrong value (--token): expected an API token as Okta"),
        ([], "00a", "missing --url (init): required if standard input is not a terminal"),
    ],
)  # fmt: skip
def test_wrong_values(program: Program, words: list[str], token: str, error: str) -> None:
    """The error is one line without the token, and nothing is written."""
    done = init(program, *words, token=token)

    assert done.returncode == 2
    assert errors(done.stderr)[0].startswith(f"error: {error}")
    assert not token or token not in done.stderr
    assert files(program.folder) == set()


def test_no_token_on_the_command_line(program: Program) -> None:
    """A token in the arguments is refused, because other users can see it, and is not printed."""
    done = program.run("init", "--url", "https://acme.okta.com", "--token", "00visible")

    assert done.returncode == 2
    assert "other users can read a token on the command line (--token): revoke this token" in done.stderr
    assert "00visible" not in done.stderr
    assert files(program.folder) == set()


class Terminal:
    """The program on a terminal of 80 columns."""

    def __init__(self, program: Program, *words: str) -> None:
        self.shown = ""
        self._seen = 0
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(program.folder)
            environ = program.environment | {"COLUMNS": "80"}
            os.execve(sys.executable, [sys.executable, "-m", "oktawatch", *words], environ)  # noqa: S606 -- no shell is needed

    def wait_for(self, text: str) -> None:
        """Read until a text is shown after the previous one."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.shown.find(text, self._seen)) < 0:
            assert select.select([self._terminal], [], [], deadline - time.monotonic())[0], self.shown
            self.shown += os.read(self._terminal, 4096).decode()
        self._seen = at + len(text)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._terminal, f"{line}\n".encode())

    def wait(self) -> int:
        """Read until the program exits; return its exit code."""
        try:
            while more := os.read(self._terminal, 4096):
                self.shown += more.decode()
        except OSError:  # Linux's end of file on a terminal
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.mark.parametrize("words", [[], ["--token", "-"]], ids=" ".join)
def test_init_asks_on_a_terminal(program: Program, org: SimulatedOrg, url: str, words: list[str]) -> None:
    """After a wrong answer, the question is repeated, and the token is never shown, also with `--token -`."""
    terminal = Terminal(program, "init", *words)
    terminal.wait_for("URL of your Okta org (https://acme.okta.com): ")
    terminal.type("http://acme.okta.com")
    terminal.wait_for("That can't be used: expected an https URL")
    terminal.wait_for("URL of your Okta org")
    terminal.type(url)
    terminal.wait_for("API token (not shown): ")
    terminal.type("")
    terminal.wait_for("That can't be used: expected a secret")
    terminal.wait_for("API token (not shown): ")
    terminal.type(org.token)

    assert terminal.wait() == 0, terminal.shown
    assert org.token not in terminal.shown
    assert (program.folder / "okta.token").read_text("utf-8") == f"{org.token}\n"
    assert "Next:" in terminal.shown


def test_ctrl_c_at_a_question_writes_nothing(program: Program) -> None:
    """Ctrl-C at either question leaves no file."""
    for answers in ([], ["https://acme.okta.com"]):
        terminal = Terminal(program, "init")
        for answer in answers:
            terminal.wait_for("): ")
            terminal.type(answer)
        terminal.wait_for("(not shown): " if answers else "): ")
        os.write(terminal._terminal, b"\x03")
        assert terminal.wait() == 130, terminal.shown
    assert files(program.folder) == set()
