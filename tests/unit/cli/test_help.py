"""Every command has help, which appears quickly."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from typer.main import get_command

from oktawatch import __version__
from oktawatch.cli.main import app, main
from tests.unit.cli.conftest import Done

HEAVY = {
    "aiohttp", "alembic", "apscheduler", "asyncio", "msgspec", "okta", "rich", "sqlalchemy", "structlog",
    "oktawatch.config",  # our only package that needs pydantic; Typer imports pydantic itself
    "oktawatch.engine", "oktawatch.store", "oktawatch.simulator",
}  # fmt: skip


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of each command, including groups and the program itself."""

    def below(command: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    return below(get_command(app), ())


ALL = list(commands())
GROUPS = [(), ("alerts",), ("notifications",), ("rules",), ("evidence",), ("allow",), ("db",)]
NAMES = [" ".join(("oktawatch", *words)) for words in ALL]


def test_the_commands_are_those_of_the_contract() -> None:
    """The documented commands are exactly the existing ones."""
    assert {" ".join(words) for words in ALL if words not in GROUPS} == {
        "run", "backfill", "status", "alerts list", "alerts show", "alerts ack", "alerts close", "alerts reopen", "alerts note", "alerts export",
        "explain", "user", "ip", "report", "notifications list", "notifications retry", "notifications drop",
        "rules list", "rules show", "rules test", "rules replay", "evidence list", "evidence update", "allow list", "allow test",
        "db upgrade", "db current", "db prune", "db copy", "db check", "db backup", "check", "init", "files", "simulate", "demo",
    }  # fmt: skip


@pytest.mark.parametrize("words", GROUPS)
def test_no_short_description_is_cut(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of 80 columns, a list of commands has the complete first sentence of each."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    cut = [line for line in capsys.readouterr().out.splitlines() if line.endswith("...")]
    assert [line for line in cut if not line.startswith("Usage:")] == []


@pytest.mark.parametrize("words", ALL, ids=NAMES)
def test_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has a description, an example, and the options --config and --debug."""
    assert main([*words, "--help"]) == 0

    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(('oktawatch', *words))}")
    assert f"Example:  oktawatch {' '.join(words)}" in text
    if words not in GROUPS:
        assert "--config FILE" in text
        assert "--debug" in text


@pytest.mark.parametrize("words", ALL, ids=NAMES)
def test_short_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """`-h` shows the same as `--help`."""
    assert main([*words, "-h"]) == main([*words, "--help"]) == 0

    text = capsys.readouterr().out
    assert text[: len(text) // 2] == text[len(text) // 2 :]
    assert "-h, --help" in text


@pytest.mark.parametrize(
    ("typed", "offered"), [("al", "alerts"), ("alerts cl", "close"), ("backfill --si", "--since")]
)
def test_completion(typed: str, offered: str) -> None:
    """The shell's completion script asks the program, which completes commands and options."""
    script = completing(_OKTAWATCH_COMPLETE="source_bash")
    assert "_OKTAWATCH_COMPLETE=complete_bash $1" in script

    words = ["oktawatch", *typed.split()]
    answer = completing(
        _OKTAWATCH_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
    )
    assert offered in answer.split()


def completing(**variables: str) -> str:
    """Run the program as a shell does to complete a command line. Return its output."""
    return subprocess.run(
        [sys.executable, "-m", "oktawatch"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


HELP_OF_ALL = """
import json, sys
from oktawatch.cli.main import main

imported = {}
for words in json.loads(sys.argv[1]):
    assert main([*words, "--help"]) == 0
    imported[" ".join(words)] = sorted(sys.modules)
json.dump(imported, sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    """No command's help imports large packages."""
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL, json.dumps(ALL)], capture_output=True, text=True, check=True
    )

    imported = json.loads(done.stderr)
    assert imported.keys() == {" ".join(words) for words in ALL}
    assert all("oktawatch.cli.main" in modules for modules in imported.values())
    assert {words: found for words, modules in imported.items() if (found := HEAVY & set(modules))} == {}


def test_version(call: Callable[..., Done]) -> None:
    """`--version` prints the version in one line."""
    assert call("--version") == (0, f"oktawatch {__version__}\n", "")


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_commands(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A group without a command prints its commands to standard error and exits with 2."""
    assert main(list(words)) == 2

    assert "\nCommands:\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["frob\nnicate"], "no such command 'frob"),
        (["frobnicate"], "no such command 'frobnicate' (oktawatch): see 'oktawatch --help'"),
        (["backfill"], "missing option '--since' (oktawatch backfill): see 'oktawatch backfill --help'"),
        (["alerts", "show", "x"], "(oktawatch alerts show): see 'oktawatch alerts show --help'"),
        (
            ["status", "--colour"],
            "no such option: --colour (oktawatch status): see 'oktawatch status --help'",
        ),
        (["alerts", "list", "--severity", "bad"], "wrong value (--severity): expected one of INFO, LOW,"),
        (["alerts", "list", "--since", "bad"], "wrong value (--since): expected a time such as"),
        (["alerts", "list", "--limit", "0"], "(oktawatch alerts list): see"),
        (["alerts", "list", "--limit", "0"], "invalid value for '--limit': expected greater than"),
        (["alerts", "list", "--status", "x"], "wrong value (--status x): expected one of open,"),
        (["run", "--json"], "--json requires --once (run): add --once"),
        (["backfill", "--since", "1d", "--notify", "--dry-run"], "exclude each other"),
        (["simulate", "--keep-times"], "--keep-times requires --events (simulate)"),
        (["simulate", "--events", "x", "--scenario", "quiet"], "exclude each other (simulate)"),
        (["simulate", "--scenario", "war"], "wrong value (--scenario): unknown scenario war"),
        (["simulate", "--events", "/nowhere"], "can't read the events (/nowhere)"),
        (["rules", "test", "/nowhere"], "/nowhere: can't read it"),
        (["db", "copy", "--to", "sqlite:///other.db"], "wrong value (--to): expected postgresql+psycopg://"),
        (
            ["db", "copy", "--to", "postgresql://u:pass@word@h/x"],
            "(--to): expected postgresql+psycopg://USER@",
        ),
        (["alerts", "close", "1", "--note", "caf\udce9"], r"not UTF-8 (caf\udce9): use a terminal"),
        (["backfill", "--since", "1d", "--org", "\x1b[31m\u202e"], "no such org (--org "),
    ],
)
def test_wrong_usage(words: list[str], what: str, call: Callable[..., Done]) -> None:
    """A usage error is one line on standard error that refers to the help, and exit code 2."""
    done = call(*words)

    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert what in line
    assert line.isprintable()


def test_an_unexpected_error(call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception prints one line and exits with 1, with a traceback only for --debug."""

    def load(_path: object, **_options: object) -> None:
        raise RuntimeError("out of \x1b[31mcheese\ntoday")

    monkeypatch.setattr("oktawatch.config.load", load)

    short, long = call("status"), call("status", "--debug")

    assert short.code == long.code == 1
    assert short.err.count("\n") == 1
    assert r"error: unexpected RuntimeError (out of \u001b[31mcheese\u000atoday)" in short.err
    assert "Traceback" in long.err
    assert "\x1b" not in long.err


def test_a_file_that_cannot_be_used(call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be opened is an error with the file's name."""

    def load(_path: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "/etc/shadow")

    monkeypatch.setattr("oktawatch.config.load", load)

    done = call("status")

    assert done.code == 1
    assert done.err.startswith("error: permission denied (/etc/shadow): check that")


def test_interrupted(call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C exits with 130 and prints nothing."""

    def load(_path: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oktawatch.config.load", load)

    assert call("status") == (130, "", "")
