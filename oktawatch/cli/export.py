"""``oktawatch alerts export``: print alerts in the formats of other systems."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from oktawatch.cli.exits import DONE
from oktawatch.cli.options import ConfigFile, Debug
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.store.alerts import AlertFilter
    from oktawatch.store.database import Database

_FILTERS = (
    "since", "until", "org", "rule", "least", "status", "actor", "ip", "country", "as_number", "closed_as",
)  # fmt: skip


class Format(StrEnum):
    """A format of exported alerts."""

    JSONL = "jsonl"
    CSV = "csv"
    ECS = "ecs"
    OCSF = "ocsf"


def export(
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="jsonl: all columns and events; csv: the columns without the context, safe to open in a spreadsheet; "
            "ecs: Elastic Common Schema; ocsf: OCSF Detection Finding.",
        ),
    ] = Format.JSONL,
    since_last: Annotated[
        Path | None,
        typer.Option(
            metavar="STATEFILE",
            help="Export only alerts that are new or have changed since the last run with this file.",
        ),
    ] = None,
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
    config: ConfigFile = None,
    debug: Debug = False,
) -> int:
    """Print alerts for other programs, one line each, ordered by id.

    With --since-last, no alert is missed. After a failed run, the next run prints the same alerts again, so an alert can
    be printed twice: event.id (ecs) and metadata.uid (ocsf) are the same both times. Each export needs its own STATEFILE.
    """
    options = {name: value for name, value in locals().items() if name in _FILTERS and value}
    wanted = parse_filters(since, until, least, status, actor, ip, country, as_number, closed_as)
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        wanted = filter_names(wanted, org or (), rule or (), settings, database)
        return _write(format_, wanted, since_last, options, settings, database)


def _write(
    format_: Format,
    wanted: "AlertFilter",
    since_last: Path | None,
    options: Mapping[str, Any],
    settings: "Settings",
    database: "Database",
) -> int:
    from msgspec.structs import replace

    from oktawatch.cli.export_state import read_state, write_state
    from oktawatch.cli.pipe import READER_GONE, write_lines
    from oktawatch.store.export import export_alerts, last_changes

    state = {"format": str(format_), **options}
    # Read before the alerts, so that the next run exports alerts that change from now on.
    changes = last_changes(database)
    if since_last is not None:
        exported = read_state(since_last, state)
        wanted = replace(wanted, changed_after={org: exported.get(org, -1) for org in changes})
    if not write_lines(_lines(format_, export_alerts(database, wanted), settings)):
        return READER_GONE
    if since_last is not None:
        write_state(since_last, state, changes)
    return DONE


def _lines(format_: Format, alerts: Iterator[dict[str, Any]], settings: "Settings") -> Iterator[str]:
    from oktawatch.cli.alert_table import csv_lines
    from oktawatch.formats.values import json_line

    if format_ is Format.CSV:
        return csv_lines(alerts)
    complete = _with_names(alerts, settings)
    documents = complete if format_ is Format.JSONL else (_document(format_, alert) for alert in complete)
    return map(json_line, documents)


def _with_names(alerts: Iterator[dict[str, Any]], settings: "Settings") -> Iterator[dict[str, Any]]:
    """Add the name and ATT&CK ids of each alert's rule, and the link to the alert's earliest event in Okta."""
    from oktawatch.model.notification import EventReference
    from oktawatch.model.timestamps import from_text
    from oktawatch.notify.console_links import event_link
    from oktawatch.service.app import Application

    rules = Application(settings).rulebook.every
    urls = {org.name: org.url for org in settings.orgs}
    for alert in alerts:
        rule = rules.get(alert["rule_id"])
        first = next(iter(alert["events"]), None)
        url = None
        if first is not None:
            reference = EventReference(first["event_uuid"], from_text(first["published"]))
            url = event_link(urls.get(alert["org"], ""), reference)
        yield alert | {
            "rule_name": rule.name if rule else None,
            "mitre": list(rule.mitre) if rule else [],
            "url": url,
        }


def _document(format_: Format, alert: Mapping[str, Any]) -> dict[str, Any]:
    from oktawatch.formats import ecs, ocsf
    from oktawatch.model.alert import AlertStatus
    from oktawatch.model.notification import incident_id

    incident = incident_id(alert["org"], alert["rule_id"], alert["dedup_key"], alert["anchor"])
    document_id = f"{incident}/{alert['change_id']}"
    if format_ is Format.ECS:
        return ecs.alert_document(alert, document_id=document_id, incident_id=incident)
    activity = ocsf.Activity.UPDATE
    if alert["status"] == AlertStatus.CLOSED:
        activity = ocsf.Activity.CLOSE
    elif alert["updated_at"] == alert["created_at"]:
        activity = ocsf.Activity.CREATE
    return ocsf.finding(alert, document_id=document_id, incident_id=incident, activity=activity)
