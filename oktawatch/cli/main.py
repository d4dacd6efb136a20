"""``oktawatch``: hands what was typed to a command's file, and tells its errors in one line.

A command gives its exit code or raises. Whatever it raises is told here, as
``error: WHAT (WHERE): HOW TO MEND IT`` on standard error, and decides the exit code:

0    done
1    it ran, and something failed: an org, the database, a test case
2    wrong usage or configuration: nothing was touched
130  interrupted (`run` as a daemon and `simulate` end with 0: that is how they are meant to end)

Importing this module must stay cheap, since ``--help`` waits for it: commands import what they use.
"""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from oktawatch import __version__
from oktawatch.cli import (
    alerts,
    backfill,
    check,
    db,
    demo,
    explain,
    notifications,
    rules,
    run,
    simulate,
    status,
)
from oktawatch.cli.exits import FAILED, INTERRUPTED, USAGE, UsageError
from oktawatch.cli.options import Invocation

app = typer.Typer(
    name="oktawatch",
    help="Watches Okta's System Log for sign-ins from anonymizing proxies.",
    epilog="Example:  oktawatch demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: quick, and the same in a pipe and in docs/cli.md
    pretty_exceptions_enable=False,  # they print local variables, secrets among them
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"oktawatch {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the program's version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command(epilog="Example:  oktawatch run --config /etc/oktawatch/oktawatch.toml")(run.run)
app.command(epilog="Example:  oktawatch backfill --since 7d --org acme")(backfill.backfill)
app.command(epilog="Example:  oktawatch status --json")(status.status)
app.command(epilog="Example:  oktawatch check --config /etc/oktawatch/oktawatch.toml")(check.check)
app.add_typer(alerts.app)
app.command(epilog="Example:  oktawatch explain 6b0a1e7e-c933-11f0-8de9-0242ac120002")(explain.explain)
app.add_typer(notifications.app)
app.add_typer(rules.app)
app.add_typer(db.app)
app.command(epilog="Example:  oktawatch simulate > oktawatch.toml")(simulate.simulate)
app.command(epilog="Example:  oktawatch demo")(demo.demo)


_OWNER_ALONE = 0o077
_ROUND_EVERY = 20_000
"""Objects, more of them than gone, after which the collector looks for cycles. A page makes ten thousand
that go by themselves; at Python's 700 looking through them is a tenth of a backfill."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default the process's own; give its exit code."""
    if arguments is None:
        _prepare_process()
    gc.set_threshold(_ROUND_EVERY)
    invocation = Invocation()
    try:
        _check_text(sys.argv[1:] if arguments is None else arguments)
        code = get_command(app).main(
            args=arguments, prog_name="oktawatch", standalone_mode=False, obj=invocation
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.TyperException as error:
        return _show_usage(error)
    except Exception as error:  # noqa: BLE001 -- the last place that can turn an error into one line
        return _tell(error, debug=invocation.debug)
    return int(code or 0)


def _prepare_process() -> None:
    # A file that it makes holds people's names and addresses, and now and then a mistyped password.
    os.umask(os.umask(_OWNER_ALONE) | _OWNER_ALONE)
    _open_missing_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # People have names in every script; where a terminal doesn't, the rest is shown all the same.
        sys.stdout.reconfigure(errors="backslashreplace")


def _open_missing_streams() -> None:
    """Open /dev/null for each standard stream that is closed.

    Its file descriptor would go to the next file that is opened, the database for example, and what a
    library writes to the stream would end up in there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 -- open until the end


def _check_text(words: Sequence[str]) -> None:
    """Refuse bytes that are no text: no database takes them, and nobody could read what was noted."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"not UTF-8 ({word}): type it on a terminal that sends UTF-8") from None


def _show_usage(error: typer.TyperException) -> int:
    """Say what typer found wrong with the command line; show the help where a command is missing."""
    from oktawatch.logs import printable

    context: typer.Context | None = getattr(error, "ctx", None)
    what = error.format_message()
    if context is not None and what == context.get_help():
        print(what, file=sys.stderr)
        return USAGE
    # Typer hands on what pydantic says; people are told what is expected in the same words everywhere.
    what = what.replace(": Value error, ", ": ").replace(": Input should be ", ": expected ")
    command = context.command_path if context else "oktawatch"
    line = f"{what[:1].lower()}{what[1:].removesuffix('.')} ({command}): see '{command} --help'"
    print(f"error: {printable(line)}", file=sys.stderr)
    return USAGE


def _tell(error: Exception, *, debug: bool) -> int:
    from oktawatch.logs import printable

    message, code = _explained(error)
    if debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def _explained(error: Exception) -> tuple[str, int]:
    """Say an error for people, with the exit code it stands for."""
    if isinstance(error, (UsageError, *_unusable_input())):
        return str(error), USAGE
    if isinstance(error, _failures()):
        return str(error), FAILED
    if isinstance(error, OSError) and error.filename is not None:
        what = (error.strerror or type(error).__name__).lower()
        return f"{what} ({error.filename}): check that it is there and that this user may use it", FAILED
    return (
        f"unexpected {type(error).__name__} ({error}): run it again with --debug and report what it shows",
        FAILED,
    )


def _unusable_input() -> tuple[type[Exception], ...]:
    from oktawatch.config.errors import ConfigError
    from oktawatch.detection.rule_tests import RuleTestError
    from oktawatch.simulator.replay import EventsFileError

    return ConfigError, RuleTestError, EventsFileError


def _failures() -> tuple[type[Exception], ...]:
    from oktawatch.store.errors import StoreError
    from oktawatch.systemlog.errors import SystemLogError

    return StoreError, SystemLogError
