"""Compose alarms about oktawatch itself: the failure, its start and reason, and how to fix it.

The content of an alarm lists its *subjects*: JSON objects with ``what`` (org, events, notifier, database or
rule) and ``name``, and ``since``, ``until`` and ``error`` where they are known.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from oktawatch.model.notification import AlarmState
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import from_text
from oktawatch.notify.message import Line, Message
from oktawatch.notify.text import given, harmless

_MOST_LISTED = 10  # subjects in a message for people; programs get all
_MOST_NAMED = 3  # subjects in a heading
_SHELL_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_ORG_CHECKS = (
    "The reason above. Usually the token has expired or was revoked, or the network blocks the way to Okta."
    " Nothing is lost: polling goes on from where it stopped."
)
_DATABASE_CHECKS = (
    "Whether its disk is full, its server is up, and no other program holds a lock. Until it can be written,"
    " nothing is detected and no alert is sent. Nothing is lost: polling goes on from where it stopped."
)
_EVENTS_CHECKS = (
    "Whether a proxy changes Okta's answers, or a newer oktawatch supports a new format. Events that can't be"
    " used are kept in the table rejected_events, with the reason."
)
_NOTIFIER_CHECKS = (
    "Its address, its credentials, and whether the service is up. What it did not take is sent later. What is too"
    " old or was refused for good becomes a dead letter: 'oktawatch notifications retry' sends it again."
)
_RULE_CHECKS = (
    "What the rule does with this event: a regular expression that backtracks, a loop over a long text, or a wait."
    " The page is committed without the rule, and 'oktawatch explain' shows what other rules say about the event."
)

Subject = Mapping[str, Any]


def alarm_message(notification_id: str, content: Mapping[str, Any]) -> Message:
    """Return the message about the start or the end of a failure."""
    state, subjects = AlarmState(content["state"]), content["about"]
    raised = state is AlarmState.RAISED
    orgs, unusable, notifiers, databases, rules = (
        [subject for subject in subjects if subject["what"] == what]
        for what in ("org", "events", "notifier", "database", "rule")
    )
    lines = [
        *(
            _raised_lines(orgs, unusable, notifiers, rules)
            if raised
            else _over_lines([*orgs, *unusable], notifiers)
        ),
        *_database_lines(state, databases),
    ]
    headings = [
        *([_database_heading(state, databases[0])] if databases else []),
        *([_org_heading(state, orgs)] if orgs else []),
        *([_events_heading(state, unusable)] if unusable else []),
        *([_notifier_heading(state, notifiers)] if notifiers else []),
        *(f"{_name(rule)} was left out of a page of {given(rule['org'], 100)}" for rule in rules),
    ]
    kind = f"silence.{state}"
    return Message(
        id=notification_id,
        type=kind,
        severity=Severity.HIGH if raised else None,
        heading=f"[{'ALARM' if raised else 'OVER'}] {'; '.join(headings)}",
        lines=tuple(lines),
        body={"type": kind, "silence": {"about": subjects}},
    )


def _database_heading(state: AlarmState, database: Subject) -> str:
    if state is AlarmState.RAISED:
        return f"oktawatch can't write its database{_since(database)}"
    return f"oktawatch can write its database again{_after(database, ' after ')}"


def _database_lines(state: AlarmState, databases: Sequence[Subject]) -> Iterator[Line]:
    if state is AlarmState.OVER:
        yield from _listed("Database", databases, _period)
    elif databases:
        yield from _listed("Database", databases, _reason)
        yield Line("What to check", _DATABASE_CHECKS)
        yield Line("Look", "oktawatch check", typed=True)


def _org_heading(state: AlarmState, orgs: Sequence[Subject]) -> str:
    if len(orgs) > 1:
        verb = "are not polled" if state is AlarmState.RAISED else "are polled again"
        return f"{len(orgs)} orgs {verb}: {_names(orgs)}"
    (org,) = orgs
    if state is AlarmState.RAISED:
        return f"{_name(org)} has not been polled{_since(org)}"
    return f"{_name(org)} is polled again{_after(org, ', was silent for ')}"


def _events_heading(state: AlarmState, unusable: Sequence[Subject]) -> str:
    verb = "can't be used" if state is AlarmState.RAISED else "can be used again"
    return f"Events of {_names(unusable)} {verb}"


def _notifier_heading(state: AlarmState, notifiers: Sequence[Subject]) -> str:
    named = f"{'Notifier' if len(notifiers) == 1 else 'Notifiers'} {_names(notifiers)}"
    if state is AlarmState.RAISED:
        return f"{named} can't deliver{_since(notifiers[0]) if len(notifiers) == 1 else ''}"
    return f"{named} can deliver again{_after(notifiers[0], ' after ') if len(notifiers) == 1 else ''}"


def _raised_lines(
    orgs: Sequence[Subject],
    unusable: Sequence[Subject],
    notifiers: Sequence[Subject],
    rules: Sequence[Subject],
) -> Iterator[Line]:
    yield from _listed("Org", orgs, _reason)
    if orgs:
        yield Line("What to check", _ORG_CHECKS)
    yield from _listed("Org", unusable, _reason)
    if unusable:
        yield Line("What to check", _EVENTS_CHECKS)
    if orgs or unusable:
        yield Line("Look", "oktawatch status", typed=True)
    yield from _listed("Notifier", notifiers, _reason)
    if notifiers:
        yield Line("What to check", _NOTIFIER_CHECKS)
        yield Line("Look", _list_command(notifiers), typed=True)
    yield from _listed("Rule", rules, _reason)
    yield from _listed("Event", [{**rule, "name": rule["event_uuid"]} for rule in rules], _org_of)
    if rules:
        yield Line("What to check", _RULE_CHECKS)
        yield Line("Look", "oktawatch status", typed=True)


def _over_lines(orgs: Sequence[Subject], notifiers: Sequence[Subject]) -> Iterator[Line]:
    yield from _listed("Org", orgs, _period)
    yield from _listed("Notifier", notifiers, _period)
    if notifiers:
        yield Line("Not delivered", f"{_list_command(notifiers)} --state dead", typed=True)


def _listed(label: str, subjects: Sequence[Subject], describe: Callable[[Subject], str]) -> Iterator[Line]:
    for subject in subjects[:_MOST_LISTED]:
        yield Line(label, f"{_name(subject)}: {describe(subject)}", typed=True)
    if len(subjects) > _MOST_LISTED:
        yield Line("And", f"{len(subjects) - _MOST_LISTED} more")


def _reason(subject: Subject) -> str:
    """Return the start of a failure and its reason."""
    since = f"since {_moment(subject['since'])}, " if "since" in subject else ""
    return f"{since}{harmless(subject.get('error', 'for an unknown reason'), 300)}"


def _org_of(subject: Subject) -> str:
    return f"of {given(subject['org'], 100)}"


def _period(subject: Subject) -> str:
    until = _moment(subject["until"])
    return f"from {_moment(subject['since'])} to {until}" if "since" in subject else f"until {until}"


def _list_command(notifiers: Sequence[Subject]) -> str:
    """Return the command that lists waiting notifications. Omit a name that a shell would interpret."""
    names = {notifier["name"] for notifier in notifiers}
    only = f" --notifier {names.pop()}" if len(names) == 1 and _SHELL_SAFE(next(iter(names))) else ""
    return f"oktawatch notifications list{only}"


def _names(subjects: Sequence[Subject]) -> str:
    more = f" and {len(subjects) - _MOST_NAMED} more" if len(subjects) > _MOST_NAMED else ""
    return ", ".join(map(_name, subjects[:_MOST_NAMED])) + more


def _name(subject: Subject) -> str:
    return given(subject["name"], 100)


def _since(subject: Subject) -> str:
    return f" since {_moment(subject['since'])}" if "since" in subject else ""


def _after(subject: Subject, before: str) -> str:
    if "since" not in subject:
        return ""
    return before + _duration(from_text(subject["until"]) - from_text(subject["since"]))


def _moment(text: str) -> str:
    return f"{from_text(text):%Y-%m-%d %H:%M} UTC"


def _duration(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else "less than a minute"
