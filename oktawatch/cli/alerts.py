"""``oktawatch alerts``: looking at what was found; deciding about it is in `triage`."""

from typing import Annotated, Any, Literal

import typer

from oktawatch.cli import triage
from oktawatch.cli.exits import DONE, FAILED
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, point_in_time, severity
from oktawatch.cli.output import note, print_fields, print_json, print_list, print_table
from oktawatch.cli.setup import existing_database, load_without_secrets

app = typer.Typer(
    name="alerts",
    help="Look at alerts, and decide about them.",
    epilog="Example:  oktawatch alerts list --since 24h",
    no_args_is_help=True,
)

_LARGEST_ID = 2**63 - 1

app.command(epilog="Example:  oktawatch alerts ack 17 18")(triage.ack)
app.command(epilog='Example:  oktawatch alerts close 17 --as benign --note "travelling"')(triage.close)
app.command(epilog="Example:  oktawatch alerts reopen 17")(triage.reopen)
app.command(epilog='Example:  oktawatch alerts note 17 "asked Nora, no answer yet"')(triage.note)


@app.command(name="list", epilog="Example:  oktawatch alerts list --since 24h --severity MEDIUM")
def list_(
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help=f"Only alerts with a match at or after this time. {WHEN}"),
    ] = None,
    org: Annotated[str | None, typer.Option(metavar="NAME", help="Only alerts of this org.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="ID", help="Only alerts of this rule.")] = None,
    least: Annotated[
        str | None,
        typer.Option(
            "--severity", metavar="SEVERITY", help="At least this: INFO, LOW, MEDIUM, HIGH or CRITICAL."
        ),
    ] = None,
    status: Annotated[
        Literal["open", "acknowledged", "closed", "pending"] | None,
        typer.Option(help="Only alerts that stand so. Default: all but pending ones, below their threshold."),
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="ACTOR", help="Only alerts of this user: an id or a login.")
    ] = None,
    ip: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only alerts of this address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_LARGEST_ID, metavar="N", help="At most so many.")] = 100,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List alerts, the one with the latest match first."""
    from oktawatch.model.alert import AlertStatus
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store.alerts import AlertFilter, count_alerts, list_alerts

    wanted = AlertFilter(
        since=point_in_time(since, "--since", now=utc_now()) if since is not None else None,
        org=org,
        rule=rule,
        severity=severity(least) if least is not None else None,
        status=AlertStatus(status) if status is not None else None,
        actor=actor,
        ip=ip,
    )
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        found = list_alerts(database, wanted, limit=limit)
        count = count_alerts(database, wanted) if len(found) == limit else len(found)
    print_list(found, "alerts", count=count, as_json=as_json, draw=print_alerts)
    return DONE


@app.command(epilog="Example:  oktawatch alerts show 17")
def show(
    alert_id: Annotated[int, typer.Argument(metavar="ID", min=0, max=_LARGEST_ID, help="The alert's id.")],
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show everything about one alert, the events it holds included."""
    from oktawatch.store.alerts import show_alert

    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        alert = show_alert(database, alert_id)
    if alert is None:
        note(f"error: no such alert ({alert_id}): see 'oktawatch alerts list'")
        return FAILED
    if as_json:
        print_json(alert)
        return DONE
    events, context = alert.pop("events"), alert.pop("context")
    print_fields((name, value) for name, value in alert.items() if value is not None)
    print()
    print_table(
        ("EVENT", "PUBLISHED", "SEVERITY"),
        [(event["event_uuid"], event["published"], event["severity"]) for event in events],
    )
    print("\nCONTEXT")
    print_json(context)
    return DONE


def print_alerts(alerts: list[dict[str, Any]]) -> None:
    """Print a table of alerts, given as JSON objects."""
    columns = {
        "ID": "id",
        "LAST EVENT": "last_event_at",
        "SEVERITY": "severity",
        "STATUS": "status",
        "ORG": "org",
        "EVENTS": "event_count",
        "COUNTRY": "country",
        "TITLE": "title",
    }
    rows = [[alert[name] for name in columns.values()] for alert in alerts]
    print_table(tuple(columns), rows, numbers=("ID", "EVENTS"), whole=("LAST EVENT",))
