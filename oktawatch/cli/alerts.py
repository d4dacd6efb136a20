"""``oktawatch alerts``: list and show alerts. The commands that record decisions are in `triage`."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oktawatch.cli import export, triage
from oktawatch.cli.alert_filters import (
    Actors,
    AsNumbers,
    Countries,
    LeastSeverity,
    Networks,
    Orgs,
    Rules,
    Since,
    Statuses,
    Until,
    Verdicts,
    filter_names,
    parse_filters,
)
from oktawatch.cli.alert_page import AlertPage, print_page
from oktawatch.cli.alert_table import print_alerts, print_csv
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import LARGEST_ID, ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, print_list
from oktawatch.cli.setup import existing_database, load_for_reading, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.database import Database

_MAX_RELATED = 5
"""The maximum number of alerts that `alerts show` lists for the person, and for the address."""

app = typer.Typer(
    name="alerts",
    help="Show alerts, and record decisions about them.",
    epilog="Example:  oktawatch alerts list --since 24h",
    no_args_is_help=True,
)


app.command(epilog="Example:  oktawatch alerts ack 17 18")(triage.ack)
app.command(epilog='Example:  oktawatch alerts close 17 --as benign --note "travelling"')(triage.close)
app.command(epilog="Example:  oktawatch alerts reopen 17")(triage.reopen)
app.command(epilog='Example:  oktawatch alerts note 17 "asked Nora, no answer yet"')(triage.note)
app.command(
    epilog="Example:  oktawatch alerts export --format ecs --since-last /var/lib/oktawatch/siem.state >> alerts.ndjson"
)(export.export)


@app.command(
    name="list",
    epilog="Example:  oktawatch alerts list --since 24h --severity MEDIUM --actor 'nora*' --ip 203.0.113.0/24",
)
def list_(
    since: Since = None,
    until: Until = None,
    org: Orgs = None,
    rule: Rules = None,
    least: LeastSeverity = None,
    status: Statuses = None,
    actor: Actors = None,
    ip: Networks = None,
    country: Countries = None,
    as_number: AsNumbers = None,
    closed_as: Verdicts = None,
    sort: Annotated[
        Literal["last", "first", "severity", "events", "id"],
        typer.Option(help="Sort by last or first event, severity, events or id; the highest comes first."),
    ] = "last",
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_ID, metavar="N", help="Show at most N.")] = 100,
    count_only: Annotated[bool, typer.Option("--count", help="Print only the number of alerts.")] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="Add org and title, and do not shorten values.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, safe to open in a spreadsheet.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List alerts, one line each, the latest event first.

    A repeated filter matches any of its values. ✗ counts failures, and ✓ counts successes.
    """
    from oktawatch.store.alerts import count_alerts, list_alerts

    if as_json + as_csv + count_only > 1:
        raise UsageError("too many formats (--json, --csv, --count): use only one of them")
    wanted = parse_filters(since, until, least, status, actor, ip, country, as_number, closed_as)
    # `load_for_reading` is fast but configures logging only for libraries. --rule may load the rules, which can log, so
    # it needs `load_without_secrets`.
    load = load_without_secrets if rule else load_for_reading
    settings = load(config, debug=debug)
    with existing_database(settings) as database:
        wanted = filter_names(wanted, org or (), rule or (), settings, database)
        if count_only:
            print(count_alerts(database, wanted))
            return DONE
        found = list_alerts(database, wanted, limit=limit, order=sort)
        count = count_alerts(database, wanted) if len(found) == limit else len(found)
    draw = print_csv if as_csv else partial(print_alerts, wide=wide)
    print_list(found, "alerts", count=count, as_json=as_json, draw=draw)
    return DONE


@app.command(epilog="Example:  oktawatch alerts show 17")
def show(
    alert_id: Annotated[int, typer.Argument(metavar="ID", min=0, max=LARGEST_ID, help="The alert's id.")],
    context: Annotated[
        bool,
        typer.Option(
            "--context",
            help="Print only the context: selected parts of the event that opened the alert, as JSON.",
        ),
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show an alert with its events and runbook.

    Also shows the alert's outcome, related alerts and how to close it.
    --json prints all columns of the alert, its events and the decisions about it.
    """
    from oktawatch.store.alerts import show_alert

    if as_json and context:
        raise UsageError("too many formats (--json, --context): use only one of them")
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        alert = show_alert(database, alert_id)
        page = None if alert is None or as_json or context else _page(settings, database, alert)
    if alert is None:
        note(f"error: no such alert ({alert_id}): see 'oktawatch alerts list'")
        return FAILED
    if page is not None:
        print_page(page)
    else:
        print_json(alert["context"] if context else alert)
    return DONE


def _page(settings: "Settings", database: "Database", alert: dict[str, Any]) -> AlertPage:
    from oktawatch.model.notification import EventReference
    from oktawatch.model.timestamps import from_text
    from oktawatch.notify.alert_text import anonymizers
    from oktawatch.notify.console_links import event_link
    from oktawatch.service.app import Application
    from oktawatch.store.alerts import related_alerts
    from oktawatch.store.sighting_queries import novelty

    rule = Application(settings).rulebook.every.get(alert["rule_id"])
    urls = {org.name: org.url for org in settings.orgs}
    first = alert["events"][0] if alert["events"] else None
    reference = (
        EventReference(first["event_uuid"], from_text(first["published"])) if first is not None else None
    )
    of_person, of_address = related_alerts(database, alert, limit=_MAX_RELATED)
    return AlertPage(
        alert=alert,
        rule_name=rule.name if rule is not None else alert["rule_id"],
        mitre=rule.mitre if rule is not None else (),
        runbook=rule.runbook if rule is not None else "The rule is no longer configured.",
        anonymizer=anonymizers(alert),
        novelty=novelty(
            database,
            alert["org"],
            alert["actor_id"],
            alert["client_ip"],
            as_number=alert["as_number"],
            country=alert["country"],
            at=from_text(alert["first_event_at"]),
        ),
        of_person=of_person,
        of_address=of_address,
        link=event_link(urls.get(alert["org"], ""), reference) if reference is not None else None,
    )
