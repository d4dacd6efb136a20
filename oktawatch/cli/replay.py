"""``oktawatch rules replay``: a rule tried on the past before it is turned on."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alert_table import print_alerts
from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, Orgs
from oktawatch.cli.output import note, print_json, print_table
from oktawatch.cli.reading import IN_MEMORY, backfill_with_progress, chosen_orgs, stretch
from oktawatch.cli.setup import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from oktawatch.engine.replay import Replayed
    from oktawatch.service.backfill import BackfillResult


def replay(
    since: Annotated[str, typer.Option(metavar="WHEN", help=f"What it would have found since then. {WHEN}")],
    rule: Annotated[str, typer.Option(metavar="ID", help="The rule's id; it need not be on.")],
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="… and up to here. Default: now.", show_default=False)
    ] = None,
    org: Orgs = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what a rule would have alerted, and how many a day.

    Reads the past with this rule alone, and the numbers that the configuration gives it. Writes
    nothing, and needs no database.
    """
    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.engine.replay import reading_from, replayed
    from oktawatch.service.app import Application

    begin, end = stretch(since, until)
    settings = load_settings(config, debug=debug)
    app = Application.build(settings, orgs=chosen_orgs(settings, org or []), rule_id=rule)
    database = DatabaseExecutor(IN_MEMORY, create=True)
    try:
        result = backfill_with_progress(
            settings, app, database, command="replay", since=reading_from(app.rules, begin), until=end,
            notify=False, debug=debug,
        )  # fmt: skip
        found = replayed(database.database, since=begin, until=end)
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("interrupted: nothing was written")
        return INTERRUPTED
    finally:
        database.close()
    if as_json:
        print_json(_document(rule, begin, end, found, result))
    else:
        _print(rule, found, signal=app.rules.rules[0].signal)
    errors = [one.error for one in result.orgs if one.error is not None]
    for error in errors:
        note(f"error: {error}")
    return FAILED if errors else DONE


def _document(
    rule: str, since: "datetime", until: "datetime", found: "Replayed", result: "BackfillResult"
) -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "rule": rule,
        "since": to_text(since),
        "until": to_text(until),
        "events": sum(one.result.events for one in result.orgs),
        "matches": found.matches,
        "alerts": len(found.alerts),
        "alerts_a_day": round(found.alerts_a_day, 3),
        "days": [{"day": day, "alerts": count} for day, count in found.days.items()],
        "would_alert": found.alerts,
        "orgs": [{"org": one.org, "error": one.error} for one in result.orgs],
    }


def _print(rule: str, found: "Replayed", *, signal: bool) -> None:
    if signal:
        print(f"{rule} would have recorded {_counted(found.matches, 'match', 'es')}; a signal alerts nobody.")
        return
    if found.alerts:
        print_alerts(found.alerts)
        print()
    print_table(("DAY", "ALERTS"), found.days.items(), numbers=("ALERTS",))
    # One alert in a month is not "0.0 a day".
    a_day = f"{found.alerts_a_day:.1f}" if found.alerts_a_day >= 1 else f"{found.alerts_a_day:.1g}"
    print(
        f"\n{rule} would have opened {_counted(len(found.alerts), 'alert', 's')} out of "
        f"{_counted(found.matches, 'match', 'es')}: {a_day} a day."
    )


def _counted(number: int, what: str, plural: str) -> str:
    return f"{number} {what}{'' if number == 1 else plural}"
