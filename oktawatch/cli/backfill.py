"""``oktawatch backfill``: apply the rules to past events."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alert_table import print_alerts
from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED, UsageError
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, Orgs
from oktawatch.cli.output import note, print_json
from oktawatch.cli.reading import IN_MEMORY, backfill_with_progress, chosen_orgs, time_span, without_ids
from oktawatch.cli.setup import load_settings
from oktawatch.cli.summary import print_summary, summarize

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.service.app import Application
    from oktawatch.service.backfill import BackfillResult
    from oktawatch.store.database import Database

_NO_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class _Request:
    """The parsed command line."""

    since: datetime
    until: datetime
    command: str
    """``backfill`` with ``--since``, ``--until`` and ``--notify``, in this order. The same text resumes an interrupted run."""
    notify: bool
    dry_run: bool


def backfill(
    since: Annotated[str, typer.Option(metavar="WHEN", help=f"Start of the period. {WHEN}")],
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="End of the period. Default: now.", show_default=False)
    ] = None,
    org: Orgs = None,
    notify: Annotated[
        bool,
        typer.Option(
            "--notify",
            help="Send notifications that were not sent before. 'oktawatch run' retries failed deliveries.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the alerts that would be opened. Needs no database.")
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Apply the rules to past events.

    A repeated run records nothing twice. If the command is interrupted, run it again within 24 hours
    to resume. It is safe to run while the daemon runs. Without --notify, the backfill sends no
    notifications. The daemon still sends notifications for the events that it reads itself.
    """
    import asyncio

    from oktawatch.service.app import Application

    request = _request(since, until, notify=notify, dry_run=dry_run)
    settings = load_settings(config, debug=debug)
    app = Application.build(settings, orgs=chosen_orgs(settings, org or []))
    try:
        result, alerts = _run(settings, app, request, debug=debug)
    except (KeyboardInterrupt, asyncio.CancelledError):
        hint = "nothing was written" if dry_run else "run the same command within 24 hours to resume"
        note(f"interrupted: {hint}")
        return INTERRUPTED
    summary = _document(request, result) | ({"would_alert": alerts} if dry_run else {})
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    errors = [org_result.error for org_result in result.orgs if org_result.error is not None]
    for error in errors:
        note(f"error: {error}")
    if result.failed_deliveries:
        note("error: some notifications were not delivered: see 'oktawatch notifications list'")
    return FAILED if errors or result.failed_deliveries else DONE


def _request(since: str, until: str | None, *, notify: bool, dry_run: bool) -> _Request:
    begin, end = time_span(since, until)
    if dry_run and notify:
        raise UsageError("--notify and --dry-run exclude each other (backfill): use one of them")
    command = f"backfill --since {since.strip()}"
    command += "" if until is None else f" --until {until.strip()}"
    return _Request(begin, end, command + (" --notify" if notify else ""), notify, dry_run)


def _run(
    settings: "Settings", app: "Application", request: _Request, *, debug: bool
) -> "tuple[BackfillResult, list[dict[str, Any]]]":
    """Run the backfill. Return its result, and the alerts that a dry run would have opened."""
    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.service.database import open_database

    database = DatabaseExecutor(IN_MEMORY, create=True) if request.dry_run else open_database(app)
    try:
        result = backfill_with_progress(
            settings, app, database, command=request.command, since=request.since, until=request.until,
            notify=request.notify, debug=debug,
        )  # fmt: skip
        return result, _all_alerts(database.database) if request.dry_run else []
    finally:
        database.close()


def _all_alerts(database: "Database") -> list[dict[str, Any]]:
    from oktawatch.store.alerts import AlertFilter, list_alerts

    return without_ids(list_alerts(database, AlertFilter(), limit=_NO_LIMIT))


def _document(request: _Request, result: "BackfillResult") -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "since": to_text(request.since),
        "until": to_text(request.until),
        "notify": request.notify,
        "dry_run": request.dry_run,
        "seconds": round(result.seconds, 6),
        "delivered": result.delivered,
        **summarize((org_result.org, org_result.result, org_result.error) for org_result in result.orgs),
    }


def _print(document: dict[str, Any]) -> None:
    if document["dry_run"]:
        print_alerts(document["would_alert"])
        print()
    print_summary(document)
    if document["events"]:
        rate = document["events"] / max(document["seconds"], 0.001)
        note(f"{document['seconds']:.1f} s, {rate:,.0f} events/s")
    if document["dry_run"]:
        note("dry run: nothing was written")
    elif document["notifications"]:
        note(f"{document['notifications']} notifications, {document['delivered']} messages delivered")
