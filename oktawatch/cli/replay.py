"""``oktawatch rules replay``: try a rule on past events before enabling it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alert_table import print_alerts
from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, Orgs
from oktawatch.cli.output import note, print_json, print_table
from oktawatch.cli.reading import IN_MEMORY, backfill_with_progress, chosen_orgs, time_span, without_ids
from oktawatch.cli.setup import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from oktawatch.engine.replay import Replayed
    from oktawatch.service.backfill import BackfillResult


def replay(
    since: Annotated[str, typer.Option(metavar="WHEN", help=f"Start of the period. {WHEN}")],
    rule: Annotated[str, typer.Option(metavar="ID", help="Id of the rule, enabled or not.")],
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="End of the period. Default: now.", show_default=False)
    ] = None,
    org: Orgs = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show the alerts that a rule would have opened.

    Runs only this rule, with its configured options, on past events. Writes nothing and needs no
    database.
    """
    import asyncio

    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.engine.replay import reading_from, replayed
    from oktawatch.service.app import Application

    begin, end = time_span(since, until)
    settings = load_settings(config, debug=debug)
    app = Application.build(settings, orgs=chosen_orgs(settings, org or []), rule_id=rule)
    database = DatabaseExecutor(IN_MEMORY, create=True)
    try:
        result = backfill_with_progress(
            settings, app, database, command="replay", since=reading_from(app.rules, begin), until=end,
            notify=False, debug=debug,
        )  # fmt: skip
        replay_result = replayed(database.database, since=begin, until=end)
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("interrupted: nothing was written")
        return INTERRUPTED
    finally:
        database.close()
    if as_json:
        print_json(_document(rule, begin, end, replay_result, result))
    else:
        _print(rule, replay_result, signal=app.rules.rules[0].signal)
    errors = [org_result.error for org_result in result.orgs if org_result.error is not None]
    for error in errors:
        note(f"error: {error}")
    return FAILED if errors else DONE


def _document(
    rule: str, since: "datetime", until: "datetime", replay_result: "Replayed", result: "BackfillResult"
) -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "rule": rule,
        "since": to_text(since),
        "until": to_text(until),
        "events": sum(org_result.result.events for org_result in result.orgs),
        "matches": replay_result.matches,
        "alerts": len(replay_result.alerts),
        "alerts_a_day": round(replay_result.alerts_a_day, 3),
        "days": [{"day": day, "alerts": count} for day, count in replay_result.days.items()],
        "would_alert": without_ids(replay_result.alerts),
        "orgs": [{"org": org_result.org, "error": org_result.error} for org_result in result.orgs],
    }


def _print(rule: str, result: "Replayed", *, signal: bool) -> None:
    matches = _with_unit(result.matches, "match", "es")
    if signal:
        print(f"{rule} would have recorded {matches}. A signal opens no alerts.")
        return
    if result.alerts:
        print_alerts(without_ids(result.alerts))
        print()
    print_table(("DAY", "ALERTS"), result.days.items(), numbers=("ALERTS",))
    # One significant digit below 1: one alert in a month is not "0.0 a day".
    a_day = f"{result.alerts_a_day:.1f}" if result.alerts_a_day >= 1 else f"{result.alerts_a_day:.1g}"
    alerts = _with_unit(len(result.alerts), "alert", "s")
    print(f"\n{rule} would have opened {alerts} out of {matches}: {a_day} a day.")


def _with_unit(number: int, singular: str, plural_ending: str) -> str:
    return f"{number} {singular}{'' if number == 1 else plural_ending}"
