"""``oktawatch alerts``: list and show alerts. The commands that record decisions are in `triage`."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oktawatch.cli import triage
from oktawatch.cli.alert_filters import (
    DISPOSITIONS,
    STATUSES,
    autonomous_system,
    choices,
    known_orgs,
    known_rules,
    network,
)
from oktawatch.cli.alert_page import AlertPage, print_page
from oktawatch.cli.alert_table import print_alerts, print_csv
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import LARGEST_ID, WHEN, ConfigFile, Debug, Json, point_in_time, severity
from oktawatch.cli.output import note, print_json, print_list
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.database import Database

_RELATED = 5
"""The maximum number of related alerts that `alerts show` lists for each kind."""

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


@app.command(
    name="list",
    epilog="Example:  oktawatch alerts list --since 24h --severity MEDIUM --actor 'nora*' --ip 203.0.113.0/24",
)
def list_(
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help=f"Alerts with an event at or after this time. {WHEN}"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Alerts with an event before this time.")
    ] = None,
    org: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Filter by org.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Filter by rule id, such as 'Okta.Multiple.*'.")
    ] = None,
    least: Annotated[
        str | None,
        typer.Option(
            "--severity",
            metavar="SEVERITY",
            help="The lowest severity to show: INFO, LOW, MEDIUM, HIGH or CRITICAL.",
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(STATUSES),
            help="Filter by status. Default: all but pending alerts, which are below their threshold.",
        ),
    ] = None,
    actor: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Filter by the user's login or id.")
    ] = None,
    ip: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS|CIDR", help="Filter by the client's address.")
    ] = None,
    country: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Filter by country.")] = None,
    as_number: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="NUMBER", help="Filter by AS number: 64500 or AS64500."),
    ] = None,
    closed_as: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(DISPOSITIONS), help="Filter closed alerts by verdict."),
    ] = None,
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

    Filters can be repeated. An alert passes a filter if any of its values matches. ✗ counts failures,
    and ✓ counts successes.
    """
    from msgspec.structs import replace

    from oktawatch.model.alert import AlertStatus
    from oktawatch.model.timestamps import utc_now
    from oktawatch.store.alerts import AlertFilter, count_alerts, list_alerts

    if as_json + as_csv + count_only > 1:
        raise UsageError("too many formats (--json, --csv, --count): use only one of them")
    now = utc_now()
    wanted = AlertFilter(
        since=point_in_time(since, "--since", now=now) if since is not None else None,
        until=point_in_time(until, "--until", now=now) if until is not None else None,
        severity=severity(least) if least is not None else None,
        statuses=[AlertStatus(name) for name in choices(status or (), "--status", STATUSES)],
        actors=actor or (),
        networks=[network(text, "--ip") for text in ip or ()],
        countries=country or (),
        as_numbers=[autonomous_system(text, "--as") for text in as_number or ()],
        dispositions=choices(closed_as or (), "--closed-as", DISPOSITIONS),
    )
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        orgs, rules = known_orgs(org or (), settings, database), known_rules(rule or (), settings, database)
        wanted = replace(wanted, orgs=orgs, rules=rules)
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
        typer.Option("--context", help="Print only the context: the event that opened the alert, as JSON."),
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show an alert: its outcome, events and related alerts, and the runbook.

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
    from oktawatch.notify.anonymizers import read_anonymizers
    from oktawatch.notify.links import event_link
    from oktawatch.service.app import Application
    from oktawatch.store.alerts import related_alerts
    from oktawatch.store.sighting_queries import novelty

    rule = Application(settings).rulebook.every.get(alert["rule_id"])
    urls = {org.name: org.url for org in settings.orgs}
    first = alert["events"][0] if alert["events"] else None
    name = EventReference(first["event_uuid"], from_text(first["published"])) if first is not None else None
    of_person, of_address = related_alerts(database, alert, limit=_RELATED)
    return AlertPage(
        alert=alert,
        rule_name=rule.name if rule is not None else alert["rule_id"],
        mitre=rule.mitre if rule is not None else (),
        runbook=rule.runbook if rule is not None else "The rule is no longer configured.",
        anonymizer=", ".join(service.detailed() for service in read_anonymizers(alert["context"])),
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
        link=event_link(urls.get(alert["org"], ""), name) if name is not None else None,
    )
