"""``oktawatch report``: summarize the alerts of a period."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alert_filters import Orgs, known_orgs
from oktawatch.cli.exits import DONE, UsageError
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, point_in_time
from oktawatch.cli.output import note, print_json
from oktawatch.cli.setup import existing_database, load_without_secrets

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.report.summary import Summary

_Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a page with charts, which needs no network. Nothing else is printed."
    ),
]


def report(
    since: Annotated[
        str, typer.Option(metavar="WHEN", help=f"Alerts whose first event is at or after this time. {WHEN}")
    ] = "30d",
    until: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Alerts whose first event is before this time. Default: now."),
    ] = None,
    org: Orgs = None,
    html: _Html = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Summarize the alerts of a period.

    Shows alerts by day, severity, place and person, who got in, and how precise each rule is.

    Precision is the share of true positives among the alerts that were closed with a verdict. With five verdicts or
    more, the advice about a rule is keep (30% and above), tune (5% and above) or retire.
    """
    from oktawatch.model.timestamps import utc_now
    from oktawatch.report.summary import summarize
    from oktawatch.store.report import alert_facts

    if html is not None and as_json:
        raise UsageError("too many formats (--html, --json): use only one of them")
    if html is not None and not html.parent.is_dir():
        raise UsageError(f"no such folder (--html {html}): create it")
    if html is not None and html.is_dir():
        raise UsageError(f"a folder (--html {html}): name a file in it")
    now = utc_now()
    begin, end = _period(since, until, now=now)
    settings = load_without_secrets(config, debug=debug)
    with existing_database(settings) as database:
        orgs = known_orgs(org or (), settings, database)
        facts = alert_facts(database, since=begin, until=end, orgs=orgs)
        summary = summarize(facts, since=begin, until=end, orgs=orgs)
    if html is not None:
        _write_page(html, summary, settings, now=now)
    elif as_json:
        print_json(_as_json(summary))
    else:
        from oktawatch.cli.report_page import print_report

        print_report(summary)
    return DONE


def _period(since: str, until: str | None, *, now: datetime) -> tuple[datetime, datetime]:
    begin = point_in_time(since, "--since", now=now)
    end = point_in_time(until, "--until", now=now) if until is not None else now
    if end <= begin:
        raise UsageError("empty period (--until): expected a time after --since")
    return begin, end


def _write_page(file: Path, summary: "Summary", settings: "Settings", *, now: datetime) -> None:
    from oktawatch.cli.atomic_file import replace_file
    from oktawatch.report.page import report_page
    from oktawatch.service.app import Application

    names = {rule_id: rule.name for rule_id, rule in Application(settings).rulebook.every.items()}
    replace_file(file, report_page(summary, names, now=now).encode())
    note(f"the report is in {file}")


def _as_json(summary: "Summary") -> dict[str, Any]:
    """Return a summary as a JSON object, with the names of severities and canonical times."""
    import msgspec

    from oktawatch.model.severity import Severity
    from oktawatch.model.timestamps import to_text

    def plain(value: Any) -> Any:
        match value:
            case Severity():
                return value.name
            case datetime():
                return to_text(value)
            case msgspec.Struct():
                return plain(msgspec.structs.asdict(value))
            case dict():
                return {plain(key): plain(item) for key, item in value.items()}
            case list():
                return [plain(item) for item in value]
        return value

    document: dict[str, Any] = plain(summary)
    document["rules"] = [
        plain(rule) | {"precision_percent": rule.precision_percent, "advice": rule.advice.value}
        for rule in summary.rules
    ]
    document["spans"] = [plain(span) | {"begin": f"{span.begin}"} for span in summary.spans]
    return document
