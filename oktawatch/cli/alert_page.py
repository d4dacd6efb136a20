"""Print an alert as a page, for the person who investigates it."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oktawatch.cli.alert_table import print_alerts, short_time, who
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.output import console, print_fields, print_heading, print_text, shown

if TYPE_CHECKING:
    from oktawatch.model.event import Event
    from oktawatch.model.sighting import Novelty

_MAX_EVENTS = 50
"""The maximum number of listed events: half of them the earliest, half of them the latest."""


class AlertPage(NamedTuple):
    """The data of an alert's page."""

    alert: Mapping[str, Any]
    """The row of ``alerts`` as a JSON object, with ``events`` and ``actions``."""
    rule_name: str
    mitre: Sequence[str]
    runbook: str
    anonymizer: str
    """The kinds and operators of the anonymizers behind the address. Empty if none is known."""
    novelty: "Novelty"
    """The attributes that were new for this person, and the number of other people at the address."""
    of_person: Sequence[Mapping[str, Any]] = ()
    """Other alerts about the person, the latest first."""
    of_address: Sequence[Mapping[str, Any]] = ()
    """Alerts about other people at the address, the latest first."""
    link: str | None = None
    """The URL of the earliest event in Okta's admin console."""


def print_page(page: AlertPage) -> None:
    """Print the page: summary, actor and origin, events, related alerts and runbook."""
    alert = page.alert
    heading = f"Alert {alert['id']}: {alert['severity']}, {alert['status']}"
    print_text(f"{heading} as {alert['disposition']}" if alert["disposition"] else heading, style="bold")
    print_text(f"{alert['title'].partition(' - IP=')[0]}. {_outcome(alert)}.")
    print()
    print_fields(_facts(page))
    print_heading("Events")
    _print_events(alert["events"])
    for action in alert["actions"]:
        print_text(_action(action))
    for heading, alerts in (
        (f"Other alerts of {who(alert)}", page.of_person),
        (f"Other alerts at {alert['client_ip']}", page.of_address),
    ):
        if alerts:
            print_heading(heading)
            print_alerts(alerts)
    print_heading("What to do")
    print_text(page.runbook)
    print()
    for line in _commands(page):
        console().print(shown(line), soft_wrap=True)


def _outcome(alert: Mapping[str, Any]) -> str:
    """Return the outcome of the alert, as a sentence without its full stop."""
    from oktawatch.model.match import FAILURES

    failures, succeeded_at = alert["failures"], alert["succeeded_at"]
    if succeeded_at is None:
        return f"Nobody got in: {_failures(failures)}" if failures else "Its outcome is unknown"
    earlier = sum(
        event["outcome"] in FAILURES and event["published"] < succeeded_at for event in alert["events"]
    )
    attempts = [
        f"{word} {_failures(number)}"
        for word, number in (("after", earlier), ("before", failures - earlier))
        if number
    ]
    return f"Got in at {short_time(succeeded_at)} UTC" + (f", {' and '.join(attempts)}" if attempts else "")


def _failures(number: int) -> str:
    return f"{number} failure" if number == 1 else f"{number} failures"


def _facts(page: AlertPage) -> Iterator[tuple[str, object]]:
    from oktawatch.detection.context import event_of_context
    from oktawatch.notify.alert_text import severity

    alert, event = page.alert, event_of_context(page.alert["context"])
    yield "Who", _joined(alert["actor_display_name"], alert["actor_alternate_id"], alert["actor_id"])
    number = f"AS{alert['as_number']}" if alert["as_number"] is not None else None
    network = _joined(number, alert["as_org"] or alert["isp"], separator=" ")
    place = _joined(alert["city"], alert["country"], separator=", ")
    yield "From", _joined(alert["client_ip"], place, network, alert["domain"])
    facts = {
        "Anonymizer": page.anonymizer,
        "Severity": severity(alert),
        "Client": event.user_agent,
        "Okta says": _okta_assessment(event),
        "New for them": _new(alert, page.novelty),
        "Also there": _other_people(page.novelty.others),
        "Rule": _joined(page.rule_name, *page.mitre),
        "Org": alert["org"],
        "Note": alert["note"],
    }
    yield from ((name, value) for name, value in facts.items() if value)


def _new(alert: Mapping[str, Any], novelty: "Novelty") -> str:
    from oktawatch.notify.alert_text import new_for_person

    unknown = "" if novelty.known_since else " (no earlier sign-in is known)"
    new = ", ".join(new_for_person(alert, novelty))
    return f"{new}{unknown}" if new else ""


def _other_people(count: int) -> str:
    if not count:
        return ""
    return "1 other person used this address" if count == 1 else f"{count} other people used this address"


def _okta_assessment(event: "Event") -> str:
    risk = f"risk {event.risk}" if event.risk else None
    return _joined(risk, *json.loads(event.behaviours or "[]"))


def _print_events(events: Sequence[Mapping[str, Any]]) -> None:
    columns = (
        Column(heading="UTC"),
        Column(heading="OUTCOME", min_width=8),
        Column(heading="ADDRESS", min_width=15, optional=True),
        Column(heading="EVENT"),
    )
    rows = [
        (
            _time(event["published"]),
            _joined(event["outcome"], event["outcome_reason"], separator=" ") or "unknown",
            event["client_ip"],
            event["event_uuid"],
        )
        for event in events
    ]
    if left_out := max(len(rows) - _MAX_EVENTS, 0):
        half = _MAX_EVENTS // 2
        rows = [*rows[:half], ("…", f"{left_out} more", "", ""), *rows[-half:]]
    print_one_line_table(columns, rows)


def _action(action: Mapping[str, Any]) -> str:
    verdict = f" as {action['disposition']}" if action["disposition"] else ""
    note = f": {action['note']}" if action["note"] else ""
    return f"{_time(action['at'])}  {action['action']}{verdict} by {action['by']}{note}"


def _commands(page: AlertPage) -> Iterator[str]:
    alert = page.alert
    if alert["status"] in {"open", "acknowledged"}:
        yield f'oktawatch alerts close {alert["id"]} --as benign --note "…"    # or true_positive, false_positive'
    elif alert["status"] == "closed":
        yield f"oktawatch alerts reopen {alert['id']}"
    if name := _name_to_look_up(alert):
        # After "--", a login that begins with "-" is not read as an option.
        yield f"oktawatch user {'-- ' if name.startswith('-') else ''}{shlex.quote(name)}"
    if alert["client_ip"]:
        yield f"oktawatch ip {shlex.quote(alert['client_ip'])}"
    yield f"oktawatch explain --alert {alert['id']}"
    yield f"oktawatch alerts show {alert['id']} --context    # the event that opened it, as JSON"
    if page.link is not None:
        yield f"In Okta: {page.link}"


def _name_to_look_up(alert: Mapping[str, Any]) -> str | None:
    """Return the login, or the id if the login can't be copied from a terminal.

    Return None for an actor without an id, because `oktawatch user` finds no such actor.
    """
    login: str | None = alert["actor_alternate_id"]
    actor_id: str | None = alert["actor_id"]
    return login if actor_id and login and shown(login) == login else actor_id


def _time(text: str) -> str:
    return f"{text[5:10]} {text[11:19]}"


def _joined(*parts: object, separator: str = " · ") -> str:
    return separator.join(str(part) for part in parts if part)
