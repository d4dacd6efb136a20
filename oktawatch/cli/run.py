"""``oktawatch run``: the daemon, or a single poll with ``--once``."""

from typing import TYPE_CHECKING, Annotated

import typer

from oktawatch.cli.exits import UsageError
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json
from oktawatch.cli.setup import load_settings
from oktawatch.cli.summary import print_summary, summarize

if TYPE_CHECKING:
    from pathlib import Path

    from oktawatch.config import Settings


def run(
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Poll each org until it has caught up, send due notifications, and exit."
        ),
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Poll every org on its schedule until SIGTERM or Ctrl-C.

    The daemon logs refused tokens and unreachable hosts and keeps running. With --once, these errors
    and failed deliveries cause exit code 1. On SIGHUP the daemon reloads configuration and rules.
    The daemon also fetches the sources of evidence that have a URL. 'run --once' does not: run
    'oktawatch evidence update' before it.
    """
    if as_json and not once:
        raise UsageError("--json requires --once (run): add --once")
    settings = load_settings(config, debug=debug)
    if once:
        return _once(settings, as_json=as_json)
    return _daemon(settings, config, debug=debug)


def _daemon(settings: "Settings", config: "Path | None", *, debug: bool) -> int:
    import asyncio

    from oktawatch.service.app import Application
    from oktawatch.service.daemon import run_daemon

    return asyncio.run(run_daemon(Application.build(settings), config, debug=debug))


def _once(settings: "Settings", *, as_json: bool) -> int:
    import asyncio

    from oktawatch.engine.pipeline import PageResult
    from oktawatch.service.app import Application
    from oktawatch.service.run_once import run_once

    result = asyncio.run(run_once(Application.build(settings)))
    summary = summarize(
        (org_result.org, org_result.result or PageResult(), org_result.error) for org_result in result.orgs
    )
    summary |= {"delivered": result.delivered, "undelivered": result.undelivered}
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        if result.delivered:
            note(f"{result.delivered} notifications delivered")
        if result.undelivered:
            note(f"{result.undelivered} notifications not delivered: see 'oktawatch notifications list'")
    for error in result.errors:
        note(f"error: {error}")
    if result.delivery_failed:
        note("error: a delivery failed: see the log and 'oktawatch notifications list'")
    return result.exit_code
