"""Print docs/cli.md, made from what every command says of itself: `make docs` writes it, a test compares it."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from oktawatch.cli.main import app

_WIDTH = 100  # columns

HEAD = """\
# Command line

Every command's `--help`, written by `make docs`. Machine output goes to standard output, logs and progress to
standard error. Errors are one line, `error: WHAT (WHERE): HOW TO MEND IT`; `--debug` shows where one came from.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it ran, and something failed: an org, the database, a test case |
| 2 | wrong usage or configuration: nothing was touched |
| 130 | interrupted (`run` as a daemon and `simulate` end with 0: that is how they are meant to end) |
"""


def sections(command: Any, name: str, parent: Any = None) -> Iterator[str]:
    """Yield a section for a command, and then those of the commands in it."""
    context = typer.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, **command.context_settings
    )
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    yield f"## {context.command_path}\n\n```text\n" + "\n".join(lines).strip() + "\n```\n"
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from sections(inner, inner_name, context)


def reference() -> str:
    """Return the whole document."""
    return "\n".join([HEAD, *sections(get_command(app), "oktawatch")])


if __name__ == "__main__":
    print(reference(), end="")
