"""``oktawatch allow``: list the allow entries, and test which of them applies."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from oktawatch.cli.alert_filters import autonomous_system, choices
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.explain import check_uuid, unknown_event
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.options import ConfigFile, Debug, Json
from oktawatch.cli.output import note, print_json, shown
from oktawatch.cli.setup import existing_database, load_for_explaining, load_without_secrets

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from oktawatch.detection.allow import AllowEntry, Candidate, Comparison
    from oktawatch.service.app import Application
    from oktawatch.store.allowed import EntryUse

app = typer.Typer(
    name="allow",
    help="List the allow entries, and test which of them applies.",
    epilog="Example:  oktawatch allow list",
    no_args_is_help=True,
)

_COLUMNS = (
    Column(heading="ENTRY"),
    Column(heading="STATE"),
    Column(heading="UNTIL"),
    Column(heading="MATCHES", right=True),
    Column(heading="LAST MATCH"),
    Column(heading="REASON", min_width=16),
    Column(heading="CONDITIONS", min_width=40, optional=True),
)


class _EventOptions(NamedTuple):
    """The values of the options that describe an event."""

    ip: str | None = None
    actor: str | None = None
    rule: str | None = None
    org: str | None = None
    as_number: str | None = None
    operator: str | None = None
    kind: str | None = None
    zone: str | None = None


@app.command(name="list", epilog="Example:  oktawatch allow list --json")
def list_(config: ConfigFile = None, as_json: Json = False, debug: Debug = False) -> int:
    """List the allow entries with the number of matches that they allowed.

    The state of an entry is active, unused (no matches), expired, or removed (no longer in the configuration).
    Matches older than retention.alerts are not counted.
    """
    from oktawatch.model.timestamps import utc_now
    from oktawatch.service.app import Application
    from oktawatch.store.allowed import entry_uses

    settings = load_without_secrets(config, debug=debug)
    entries = {entry.id: entry for entry in Application(settings).allow.entries}
    with existing_database(settings) as database:
        uses = entry_uses(database)
    ids = [*entries, *sorted(uses.keys() - entries.keys())]
    rows = [_row(entry_id, entries.get(entry_id), uses.get(entry_id), utc_now()) for entry_id in ids]
    if as_json:
        print_json(rows)
    elif rows:
        print_one_line_table(_COLUMNS, [_cells(row) for row in rows])
    else:
        note("no allow entries: docs/detection.md describes [[allow]]")
    return DONE


@app.command(name="test", epilog="Example:  oktawatch allow test --ip 203.0.113.7 --actor nora@example.com")
def compare(
    event_uuid: Annotated[
        str | None, typer.Argument(metavar="EVENT_UUID", help="The event's uuid.", show_default=False)
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", metavar="ADDRESS", help="Client's address.", show_default=False)
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="LOGIN", help="Login.", show_default=False)] = None,
    rule: Annotated[str | None, typer.Option(metavar="ID", help="Rule's id.", show_default=False)] = None,
    org: Annotated[
        str | None, typer.Option(metavar="NAME", help="Org. Default: the only org.", show_default=False)
    ] = None,
    as_number: Annotated[
        str | None,
        typer.Option("--as", metavar="NUMBER", help="Autonomous system, such as 64500.", show_default=False),
    ] = None,
    operator: Annotated[
        str | None, typer.Option(metavar="NAME", help="Operator of the anonymizer.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Kind of anonymizer. Default: the operator's.", show_default=False),
    ] = None,
    zone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Okta's network zone.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show which allow entry applies to an event.

    Give either EVENT_UUID, or options that describe an event that happens now. With EVENT_UUID, each enabled rule that
    matches the event and raises alerts has its own result. If no entry applies, the closest one is shown with its unmet
    conditions. Exit 1 unless every result is allowed.
    """
    options = _EventOptions(ip, actor, rule, org, as_number, operator, kind, zone)
    results = _results(event_uuid, options, config, debug=debug)
    if results is None:
        note(unknown_event(str(event_uuid)))
        return FAILED
    if not results:
        note("no enabled rule that raises alerts matches this event")
    allowed = bool(results) and all(result["allowed"] for result in results)
    if as_json:
        print_json({"allowed": allowed, "results": results})
    else:
        for line in (line for result in results for line in _lines(result)):
            print(shown(line))
    return DONE if allowed else FAILED


def _results(
    event_uuid: str | None, options: _EventOptions, config: "Path | None", *, debug: bool
) -> list[dict[str, Any]] | None:
    """Return the results as JSON objects, or None for an unknown event."""
    from oktawatch.service.app import Application

    if (event_uuid is None) is (options == _EventOptions()):
        raise UsageError(
            "wrong usage (allow test): give either EVENT_UUID alone, or values such as --ip and --actor"
        )
    if event_uuid is not None:
        check_uuid(event_uuid)
        return _results_of_event(Application(load_for_explaining(config, debug=debug)), event_uuid)
    application = Application(load_without_secrets(config, debug=debug))
    return [_result(options.rule, application.allow.closest(_candidate(application, options)))]


def _row(
    entry_id: str, entry: "AllowEntry | None", use: "EntryUse | None", now: "datetime"
) -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "entry": entry_id,
        "state": _state(entry, use, now),
        "until": entry.until.isoformat() if entry is not None and entry.until else None,
        "matches": use.matches if use is not None else 0,
        "last_match_at": to_text(use.last_at) if use is not None else None,
        "reason": entry.reason if entry is not None else use.reason if use is not None else None,
        "conditions": {name: list(values) for name, values in entry.conditions.items()} if entry else None,
    }


def _state(entry: "AllowEntry | None", use: "EntryUse | None", now: "datetime") -> str:
    if entry is None:
        return "removed"
    if entry.has_expired(now):
        return "expired"
    return "unused" if use is None else "active"


def _cells(row: dict[str, Any]) -> Sequence[object]:
    conditions = "; ".join(
        f"{name} {', '.join(map(str, values))}" for name, values in (row["conditions"] or {}).items()
    )
    return (
        row["entry"],
        row["state"],
        row["until"] or "no end" if row["state"] != "removed" else "",
        row["matches"],
        (row["last_match_at"] or "")[:10],
        row["reason"],
        conditions,
    )


def _candidate(application: "Application", options: _EventOptions) -> "Candidate":
    """Return the candidate that the options describe. Raise UsageError for an invalid value."""
    from oktawatch.detection.allow import Candidate
    from oktawatch.model.anonymizer_kind import Anonymizer, AnonymizerKind
    from oktawatch.model.match import MatchOrigin
    from oktawatch.model.timestamps import utc_now

    orgs = list(application.org_tags)
    org = options.org or (orgs[0] if len(orgs) == 1 else None)
    choices([org] if org else [], "--org", orgs)
    choices([options.kind] if options.kind else [], "--kind", list(AnonymizerKind))
    choices([options.rule] if options.rule else [], "--rule", list(application.rulebook.every))
    kind = AnonymizerKind(options.kind) if options.kind else application.evidence.kind_of(options.operator)
    return Candidate(
        org=org,
        tags=application.org_tags[org] if org else (),
        rule_id=options.rule,
        published=utc_now(),
        origin=MatchOrigin(
            actor_alternate_id=options.actor,
            client_ip=None if options.ip is None else _address(options.ip),
            as_number=None if options.as_number is None else autonomous_system(options.as_number, "--as"),
            zone=options.zone,
            anonymizer=lambda: (
                Anonymizer(kind, options.operator) if options.kind or options.operator else None
            ),
        ),
    )


def _address(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise UsageError(f"not an address (--ip {text}): expected one such as 203.0.113.7") from None


def _results_of_event(application: "Application", event_uuid: str) -> list[dict[str, Any]] | None:
    """Return a result for each enabled rule that matches and raises alerts, or None for an unknown event."""
    import asyncio

    from oktawatch.service.explaining import explain_event

    explanation = asyncio.run(explain_event(application, event_uuid))
    if explanation is None:
        return None
    return [
        _result(verdict.rule_id, verdict.closest) | {"alert_id": verdict.alert_id}
        for verdict in explanation.verdicts
        if verdict.enabled and verdict.matches and not verdict.signal
    ]


def _result(rule: str | None, closest: "Comparison | None") -> dict[str, Any]:
    if closest is None:
        return {"rule": rule, "allowed": False, "entry": None, "reason": None, "unmet": []}
    return {
        "rule": rule,
        "allowed": closest.applies,
        "entry": closest.entry.id,
        "reason": closest.entry.reason,
        "unmet": [
            {
                "condition": name,
                "expected": _expected(closest.entry, name),
                "found": value.isoformat() if name == "until" else value,
            }
            for name, value in closest.unmet.items()
        ],
    }


def _expected(entry: "AllowEntry", name: str) -> Any:
    return str(entry.until) if name == "until" else list(getattr(entry, name))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    rule = f"{result['rule']}: " if result["rule"] is not None else ""
    entry = f"entry {result['entry']} ({result['reason']})"
    if result["allowed"]:
        yield f"{rule}allowed by {entry}"
    elif result["entry"] is None:
        yield f"{rule}not allowed: there are no allow entries"
    else:
        yield f"{rule}not allowed; closest is {entry}"
        for unmet in result["unmet"]:
            yield f"  {_unmet(unmet)}"
    if result.get("alert_id") is not None:
        yield f"  The match is already in alert {result['alert_id']}: entries don't change alerts."


def _unmet(unmet: dict[str, Any]) -> str:
    name, found = unmet["condition"], unmet["found"]
    if name == "until":
        return f"until {unmet['expected']}: it happened on {found}"
    expected = ", ".join(map(str, unmet["expected"]))
    return f"{name} {expected}: it is {'unknown' if found is None else found}"
