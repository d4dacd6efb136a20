"""The options that many commands share, and how what is typed becomes a value."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import UsageError

if TYPE_CHECKING:
    from oktawatch.model.severity import Severity


class Invocation:
    """What `main` has to know of a command after it has failed."""

    debug: bool = False


def _remember_debug(context: typer.Context, value: bool) -> bool:
    context.obj.debug = value
    return value


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration. Default: $OKTAWATCH_CONFIG, ./oktawatch.toml, /etc/oktawatch/oktawatch.toml.",
        show_default=False,
    ),
]
UnusedConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Taken as by every command; this one needs no configuration.",
        show_default=False,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Log in detail, and show where an error came from.", callback=_remember_debug
    ),
]
Orgs = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this org; may be given again. Default: all.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

LARGEST_ID = 2**63 - 1
"""The largest id that both databases hold."""
WHEN = "WHEN is ISO 8601 (2026-11-01, 2026-11-01T08:00:00Z; no zone is UTC) or an age: 90m, 24h, 7d, 2w."


def point_in_time(text: str, option: str, *, now: datetime) -> datetime:
    """Read a WHEN; UsageError names the option."""
    from oktawatch.model.timestamps import parse_when

    try:
        return parse_when(text, now=now)
    except ValueError as error:
        raise UsageError(f"wrong value ({option}): {error}") from None


def severity(text: str) -> "Severity":
    """Read a severity's name; UsageError lists them."""
    from oktawatch.model.severity import Severity

    try:
        return Severity.parse(text)
    except ValueError as error:
        raise UsageError(f"wrong value (--severity): {error}") from None
