"""``oktawatch run``: the daemon, and one round of it."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json
from oktawatch.cli.setup import load_settings, read_settings
from oktawatch.cli.summary import print_summary, summed_up

if TYPE_CHECKING:
    from pathlib import Path

    from oktawatch.config import Settings


def run(
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Poll each org once until it has caught up, deliver what is due, and end."
        ),
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Watch every org on its schedule until SIGTERM or Ctrl-C.

    The daemon stays up through refused tokens and unreachable hosts, and logs them. With --once they,
    or a notification that could not be delivered, make the exit code 1. On SIGHUP the daemon reads
    configuration and rules again.
    """
    if as_json and not once:
        raise UsageError("--json makes no sense by itself (run): give it with --once")
    settings = load_settings(config, debug=debug)
    if once:
        return _once(settings, as_json=as_json)
    return _daemon(settings, config, debug=debug)


def _daemon(settings: "Settings", config: "Path | None", *, debug: bool) -> int:
    from oktawatch import logs
    from oktawatch.service.app import Application
    from oktawatch.service.daemon import run_daemon

    def load() -> Application:
        return Application.build(read_settings(config), strict=True)

    def begin_logging(app: Application) -> None:
        logs.configure(app.log_format, "debug" if debug else app.log_level)

    return asyncio.run(run_daemon(Application.build(settings), load, begin_logging))


def _once(settings: "Settings", *, as_json: bool) -> int:
    from oktawatch.engine.pipeline import PageResult
    from oktawatch.service.app import Application
    from oktawatch.service.run_once import run_once

    done = asyncio.run(run_once(Application.build(settings)))
    summary = summed_up((one.org, one.result or PageResult(), one.error) for one in done.orgs)
    summary |= {"delivered": done.delivered, "undelivered": done.undelivered}
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        if done.delivered:
            note(f"{done.delivered} notifications delivered")
        if done.undelivered:
            note(f"{done.undelivered} notifications not delivered: 'oktawatch notifications list' says why")
    for error in done.errors:
        note(f"error: {error}")
    if done.delivery_failed:
        note("error: a delivery failed: the log and 'oktawatch notifications list' say why")
    return done.exit_code
