"""``oktawatch``: run a command and print its error as one line.

A command returns its exit code or raises. `main` prints an exception as
``error: PROBLEM (PLACE): HOW TO FIX IT`` on standard error and maps it to an exit code:

0    success
1    the command ran and something failed: an org, the database, a test case
2    invalid usage or configuration: nothing was changed
130  interrupted (`run` as a daemon and `simulate` exit with 0 instead)
141  the reader of `alerts export` has closed the pipe

Importing this module must be fast, because ``--help`` waits for it. So commands import modules when called.
"""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache, partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from oktawatch.cli import (
    alerts,
    allow,
    backfill,
    check,
    db,
    demo,
    evidence,
    explain,
    files,
    init,
    notifications,
    people,
    report,
    rules,
    run,
    simulate,
    status,
)
from oktawatch.cli.exits import FAILED, INTERRUPTED, USAGE, OutputError, UsageError
from oktawatch.cli.options import Invocation

app = typer.Typer(
    name="oktawatch",
    help="Watches Okta's System Log for sign-ins from anonymizing proxies.",
    epilog="Example:  oktawatch demo",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},  # for all commands
    rich_markup_mode=None,  # plain help is fast, and the same in a terminal, a pipe and docs/cli.md
    pretty_exceptions_enable=False,  # Typer's tracebacks print local variables, including secrets
)


def _show_version(requested: bool) -> None:
    if requested:
        from oktawatch import __version__  # reads the installed metadata

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


app.command(epilog="Example:  oktawatch init --url https://acme.okta.com")(init.init)
app.command(epilog="Example:  oktawatch run --config /etc/oktawatch/oktawatch.toml")(run.run)
app.command(epilog="Example:  oktawatch backfill --since 7d --org acme")(backfill.backfill)
app.command(epilog="Example:  oktawatch status --json")(status.status)
app.command(epilog="Example:  oktawatch check --config /etc/oktawatch/oktawatch.toml")(check.check)
app.add_typer(alerts.app)
app.command(epilog="Example:  oktawatch user nora@example.com --since 7d")(people.user)
app.command(epilog="Example:  oktawatch ip 203.0.113.0/24")(people.ip)
app.command(epilog="Example:  oktawatch report --since 30d --html report.html")(report.report)
app.command(epilog="Example:  oktawatch explain 6b0a1e7e-c933-11f0-8de9-0242ac120002")(explain.explain)
app.add_typer(notifications.app)
app.add_typer(rules.app)
app.add_typer(evidence.app)
app.add_typer(allow.app)
app.add_typer(db.app)
app.command(epilog="Example:  oktawatch files oktawatch.example.toml > oktawatch.toml")(files.files)
app.command(epilog="Example:  oktawatch simulate > oktawatch.toml")(simulate.simulate)
app.command(epilog="Example:  oktawatch demo")(demo.demo)

command_line = cache(partial(get_command, app))
"""Return the commands and their options. Cached, because building them from signatures takes longer than a short command."""

_OWNER_ONLY_UMASK = 0o077
_GC_THRESHOLD = 20_000
"""Net allocations between two garbage collections. A page allocates ten thousand objects without cycles, so
Python's default threshold would slow down a backfill without benefit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the arguments of the process, and return its exit code."""
    if arguments is None:
        _prepare_process()
    gc.set_threshold(_GC_THRESHOLD)
    invocation = Invocation()
    try:
        _require_utf8(sys.argv[1:] if arguments is None else arguments)
        code = command_line().main(
            args=arguments, prog_name="oktawatch", standalone_mode=False, obj=invocation
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.TyperException as error:
        return _show_usage(error)
    except Exception as error:  # noqa: BLE001 -- any error becomes one line
        return _print_error(error, debug=invocation.debug)
    return int(code or 0)


def _prepare_process() -> None:
    # The files of this process contain names, addresses and possibly mistyped passwords.
    os.umask(os.umask(_OWNER_ONLY_UMASK) | _OWNER_ONLY_UMASK)
    _open_missing_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # Names can contain any character. Escape those that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")


def _open_missing_streams() -> None:
    """Open /dev/null for each standard stream that is closed.

    Otherwise the next opened file, such as the database, would get the stream's file descriptor, and libraries
    that write to the stream would write into the file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 -- open until the end


def _require_utf8(words: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8, which the database could not store."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"not UTF-8 ({word}): use a terminal with UTF-8 encoding") from None


def _show_usage(error: typer.TyperException) -> int:
    """Print Typer's error about the command line, or the help if the command is missing."""
    from oktawatch.logs import printable

    context: typer.Context | None = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and message == context.get_help():
        print(message, file=sys.stderr)
        return USAGE
    # Typer passes on pydantic's messages. Change them to the wording of our own errors.
    message = message.replace(": Value error, ", ": ").replace(": Input should be ", ": expected ")
    command = context.command_path if context else "oktawatch"
    line = f"{message[:1].lower()}{message[1:].removesuffix('.')} ({command}): see '{command} --help'"
    print(f"error: {printable(line)}", file=sys.stderr)
    return USAGE


def _print_error(error: Exception, *, debug: bool) -> int:
    from oktawatch.logs import printable

    message, code = _message_and_code(error)
    if debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def _message_and_code(error: Exception) -> tuple[str, int]:
    """Return the message to print for an error, and the exit code."""
    if isinstance(error, UsageError):
        return str(error), USAGE
    if isinstance(error, OutputError):
        return str(error), FAILED
    from oktawatch.config.errors import ConfigError
    from oktawatch.store.errors import StoreError
    from oktawatch.systemlog.errors import SystemLogError

    if isinstance(error, ConfigError):
        return str(error), USAGE
    if isinstance(error, (StoreError, SystemLogError)):
        return str(error), FAILED
    if isinstance(error, OSError) and error.filename is not None:
        problem = (error.strerror or type(error).__name__).lower()
        return f"{problem} ({error.filename}): check that it exists and that this user has access", FAILED
    return (
        f"unexpected {type(error).__name__} ({error}): run the command again with --debug and report the output",
        FAILED,
    )
