"""Options shared by many commands, and parsers for their values."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import UsageError

if TYPE_CHECKING:
    from oktawatch.model.severity import Severity


class Invocation:
    """Options that `main` needs after a command has failed."""

    debug: bool = False


def _remember_debug(context: typer.Context, value: bool) -> bool:
    context.obj.debug = value
    return value


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration file. Default: $OKTAWATCH_CONFIG, ./oktawatch.toml, /etc/oktawatch/oktawatch.toml.",
        show_default=False,
    ),
]
UnusedConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Accepted for consistency. This command needs no configuration.",
        show_default=False,
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Log in detail, and show tracebacks.", callback=_remember_debug),
]
Orgs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Use only this org. Repeat for several orgs. Default: all.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

LARGEST_ID = 2**63 - 1
"""The largest id that both databases can store."""
WHEN = "WHEN is ISO 8601 (2026-11-01, 2026-11-01T08:00:00Z; default zone UTC) or an age: 90m, 24h, 7d, 2w."


def point_in_time(text: str, option: str, *, now: datetime) -> datetime:
    """Parse the WHEN of an option. Raise UsageError, which names the option."""
    from oktawatch.model.timestamps import parse_when

    try:
        return parse_when(text, now=now)
    except ValueError as error:
        raise UsageError(f"wrong value ({option}): {error}") from None


def severity(text: str) -> "Severity":
    """Parse the name of a severity. Raise UsageError, which lists the valid names."""
    from oktawatch.model.severity import Severity

    try:
        return Severity.parse(text)
    except ValueError as error:
        raise UsageError(f"wrong value (--severity): {error}") from None
