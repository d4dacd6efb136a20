"""Every command in the docs exists, with its options."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from oktawatch.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = ("cli.md",)
PROGRAM = get_command(app)
_INLINE = re.compile(r"`(oktawatch(?: [^`]*)?)`")
_LINE = re.compile(r"\s*(?:\$ )?(?:sudo )?(oktawatch [a-z-]+(?: .*)?)")
_REST = re.compile(r"\s(?:#|&&|\||>|;|2>).*$")


def documented_commands(page: Path) -> list[str]:
    """Return the commands of a page, inline and in blocks, without what follows them: comments, pipes, more commands."""
    found = [inline.replace("\n", " ") for inline in _INLINE.findall(page.read_text("utf-8"))]
    fenced = False
    for line in page.read_text("utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and (match := _LINE.fullmatch(line)):
            found.append(match[1])
    return [_REST.sub("", text).strip() for text in found]


def problem(text: str) -> str | None:
    """Return what is wrong with a documented command, or None."""
    command = PROGRAM
    words = shlex.split(text.replace("…", "").replace("'", ""))[1:]
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    context = typer.Context(command)
    known = {option for parameter in command.get_params(context) for option in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"no options {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """Each command on the page exists, with all of its options."""
    commands = [] if page.name in GENERATED else documented_commands(page)
    wrong = {text: found for text in commands if (found := problem(text)) is not None}
    assert wrong == {}


def test_commands_are_found() -> None:
    """The pages about operating have many commands, inline and in blocks."""
    found = documented_commands(ROOT / "docs" / "operate.md")
    assert {"oktawatch status", "oktawatch db prune", "oktawatch check"} <= set(found)


def test_a_wrong_command_is_noticed() -> None:
    """Unknown commands and options are problems, and known ones are not."""
    assert problem("oktawatch db vacuum") == "no command 'vacuum'"
    assert problem("oktawatch backfill --since 7d --dryrun") == "no options ['--dryrun']"
    assert problem("oktawatch alerts list --severity HIGH --json") is None
