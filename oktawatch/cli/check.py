"""``oktawatch check``: whether everything is as it must be, before it has to be."""

import asyncio
from typing import Annotated

import typer

from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import print_json, print_table
from oktawatch.cli.setup import load_settings


def check(
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send each notifier a message that says that it is a test.")
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check configuration, database, each org's credentials and permission, and each notifier.

    Asks each org for one event and changes nothing. Exit 1 if anything fails.
    """
    from oktawatch.service.app import Application
    from oktawatch.service.check import Verdict
    from oktawatch.service.check import check as check_all

    app = Application(load_settings(config, debug=debug))
    findings = asyncio.run(check_all(app, send_test=send_test))
    good = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if as_json:
        rows = [
            {"about": finding.about, "verdict": finding.verdict.value, "message": finding.message}
            for finding in findings
        ]
        print_json({"ok": good, "findings": rows})
    else:
        print_table(
            ("VERDICT", "ABOUT", "MESSAGE"),
            [(finding.verdict.value, finding.about, finding.message) for finding in findings],
        )
    return DONE if good else FAILED
