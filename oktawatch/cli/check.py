"""``oktawatch check``: check configuration, database, orgs and notifiers."""

from typing import Annotated

import typer

from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import print_json, print_table
from oktawatch.cli.setup import load_settings


def check(
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send a test message to each notifier.")
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check configuration, database, orgs and notifiers.

    Checks each org's credentials and permissions. Sends at most two requests to each org and changes nothing. Exit 1 if a check fails.
    """
    import asyncio

    from oktawatch.service.app import Application
    from oktawatch.service.check import Verdict
    from oktawatch.service.check import check as check_all

    app = Application(load_settings(config, debug=debug))
    findings = asyncio.run(check_all(app, send_test=send_test))
    ok = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if as_json:
        rows = [
            {"about": finding.about, "verdict": finding.verdict.value, "message": finding.message}
            for finding in findings
        ]
        print_json({"ok": ok, "findings": rows})
    else:
        print_table(
            ("VERDICT", "ABOUT", "MESSAGE"),
            [(finding.verdict.value, finding.about, finding.message) for finding in findings],
        )
    return DONE if ok else FAILED
