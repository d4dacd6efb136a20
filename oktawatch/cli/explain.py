"""``oktawatch explain``: show why an event caused an alert or not."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import LARGEST_ID, ConfigFile, Debug, Json, Orgs
from oktawatch.cli.output import console, note, print_fields, print_json, print_text
from oktawatch.cli.reading import chosen_orgs
from oktawatch.cli.setup import existing_database, load_for_explaining

if TYPE_CHECKING:
    from oktawatch.config import Settings
    from oktawatch.engine.explain import Explanation, Verdict

_INDENT = 4  # spaces before the second and later lines of a wrapped condition


def explain(
    event_uuid: Annotated[
        str | None, typer.Argument(metavar="EVENT_UUID", help="The event's uuid.", show_default=False)
    ] = None,
    alert: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_ID,
            metavar="ID",
            help="Explain the earliest event of this alert, instead of EVENT_UUID.",
        ),
    ] = None,
    org: Orgs = None,
    every_rule: Annotated[bool, typer.Option("--all-rules", help="Include disabled rules.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show which rules match an event, and why.

    Also shows the event's alert, or the allow entry that applies. Reads the event from Okta, or else from
    history. Exit 1 if the event is unknown.
    """
    import asyncio

    from oktawatch.service.app import Application
    from oktawatch.service.explaining import explain_event

    _check_usage(event_uuid, alert)
    settings = load_for_explaining(config, debug=debug)
    orgs = chosen_orgs(settings, org or [])
    uuid = event_uuid if alert is None else _first_event(settings, alert)
    if uuid is None:
        return FAILED
    explanation = asyncio.run(explain_event(Application(settings, orgs=orgs), uuid))
    if explanation is None:
        note(unknown_event(uuid))
        return FAILED
    if as_json:
        print_json(_document(explanation))
    else:
        _print(explanation, every_rule=every_rule)
    return DONE


def _check_usage(event_uuid: str | None, alert: int | None) -> None:
    """Raise UsageError unless there is either a valid uuid or an alert."""
    if (event_uuid is None) == (alert is None):
        raise UsageError("wrong usage (explain): give either EVENT_UUID or --alert ID")
    if event_uuid is not None:
        check_uuid(event_uuid)


def check_uuid(event_uuid: str) -> None:
    """Raise UsageError for a text that can't be an event's uuid."""
    from oktawatch.engine.explain import is_uuid

    if not is_uuid(event_uuid):
        raise UsageError("wrong value (EVENT_UUID): expected a uuid, as events and alerts show it")


def unknown_event(event_uuid: str) -> str:
    """Return the error text for an event that is neither in the database nor in Okta."""
    return f"error: no such event ({event_uuid}): check that the uuid is complete; Okta keeps 90 days"


def _first_event(settings: "Settings", alert_id: int) -> str | None:
    """Return the uuid of an alert's earliest event. If there is none, print an error and return None."""
    from oktawatch.store.alerts import show_alert

    with existing_database(settings) as database:
        alert = show_alert(database, alert_id)
    if alert is None:
        note(f"error: no such alert ({alert_id}): see 'oktawatch alerts list'")
        return None
    if not alert["events"]:
        note(
            f"error: the events of this alert were deleted ({alert_id}): see 'oktawatch alerts show {alert_id}'"
        )
        return None
    uuid: str = alert["events"][0]["event_uuid"]
    return uuid


def _print(explanation: "Explanation", *, every_rule: bool) -> None:
    known = {name: value for name, value in explanation.event.items() if value is not None}
    print_fields([("org", explanation.org), *({"uuid": explanation.event_uuid} | known).items()])
    if explanation.trouble is not None:
        note(f"Okta did not return the event: {explanation.trouble}")
    if explanation.source == "history":
        note("the rules were evaluated with the event's columns in history")
    marks = _marks(sys.stdout)
    shown = [verdict for verdict in explanation.verdicts if verdict.enabled or every_rule]
    for verdict in sorted(shown, key=lambda verdict: not verdict.matches):  # matches first
        print()
        for line in _lines(verdict, marks):
            print_text(line, indent=_INDENT)
    if hidden := len(explanation.verdicts) - len(shown):
        rules = "1 disabled rule is" if hidden == 1 else f"{hidden} disabled rules are"
        note(f"{rules} not shown: --all-rules shows them")


def _marks(stream: TextIO) -> tuple[str, str]:
    """Return the marks for met and unmet conditions: symbols on a UTF-8 terminal, else words."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return ("✓", "✗") if console(stream).is_terminal and encoding == "utf8" else ("met:", "not met:")


def _lines(verdict: "Verdict", marks: tuple[str, str]) -> Iterator[str]:
    """Yield the result, a line for each evaluated condition, and the severity if it is known."""
    yield f"{verdict.rule_id}{'' if verdict.enabled else ' (off)'}: {', '.join(_summary(verdict))}"
    met, not_met = marks
    for condition in verdict.conditions:
        yield f"  {met if condition.holds else not_met} {condition.text.removesuffix('.')}"
    if verdict.severity is not None:
        yield f"  Severity {_severity(verdict)}"


def _severity(verdict: "Verdict") -> str:
    from oktawatch.notify.alert_text import reasons

    current = f"{verdict.severity}: {reasons(verdict.severity_reasons)}"
    if verdict.recorded_severity in (None, verdict.severity):
        return current
    return f"{verdict.recorded_severity} when it was recorded. Now it would be {current}"


def _summary(verdict: "Verdict") -> Iterator[str]:
    yield {None: "the event's content is unknown", True: "matches", False: "does not match"}[verdict.matches]
    if verdict.alert_id is not None:
        yield f"in alert {verdict.alert_id} ({verdict.alert_status})"
    elif verdict.allowed_by is not None:
        yield f"allowed by entry {verdict.allowed_by} ({verdict.allowed_reason})"
    elif verdict.recorded:
        yield "recorded as a signal"
    elif verdict.matches:
        yield "not recorded"
        if verdict.closest is not None and verdict.closest.applies:
            entry = verdict.closest.entry
            yield f"would be allowed by entry {entry.id} ({entry.reason})"


def _allowed(verdict: "Verdict") -> dict[str, Any] | None:
    """Return the allow entry recorded with the match or, for an unrecorded match, the entry that would apply."""
    if verdict.allowed_by is not None:
        return {"entry": verdict.allowed_by, "reason": verdict.allowed_reason, "recorded": True}
    if verdict.recorded or not verdict.matches or verdict.closest is None or not verdict.closest.applies:
        return None
    return {"entry": verdict.closest.entry.id, "reason": verdict.closest.entry.reason, "recorded": False}


def _document(explanation: "Explanation") -> dict[str, Any]:
    from oktawatch.model.timestamps import to_text

    return {
        "org": explanation.org,
        "event_uuid": explanation.event_uuid,
        "published": to_text(explanation.published),
        "source": explanation.source,
        "trouble": explanation.trouble,
        "event": explanation.event,
        "rules": [
            {
                "rule": verdict.rule_id,
                "enabled": verdict.enabled,
                "matches": verdict.matches,
                "recorded": verdict.recorded,
                "alert_id": verdict.alert_id,
                "alert_status": verdict.alert_status,
                "alert_title": verdict.alert_title,
                "allowed": _allowed(verdict),
                "severity": verdict.recorded_severity or verdict.severity,
                "severity_now": verdict.severity,
                "severity_reasons": list(verdict.severity_reasons),
                "conditions": [
                    {"text": condition.text, "holds": condition.holds} for condition in verdict.conditions
                ],
            }
            for verdict in explanation.verdicts
        ],
    }
