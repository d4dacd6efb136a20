"""Compose alarms about oktawatch itself. A raised alarm says what fails, since when, why, and what to check.

The content of an alarm lists its *subjects*: JSON objects with ``what`` (org, events, notifier, database or
rule) and ``name``, and ``since``, ``until`` and ``error`` where they are known. A rule also has ``org`` and
``event_uuid``. A database has ``lost`` if the daemon can't continue with it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from oktawatch.model.notification import AlarmState
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import from_text
from oktawatch.notify.message import Line, Message
from oktawatch.notify.text import harmless, harmless_name

_MAX_LISTED = 10  # subjects in a message for people; programs get all
_MAX_NAMED = 3  # subjects in a heading
_is_shell_safe = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_ORG_CHECKS = (
    "See the reason above. Usually the token has expired or was revoked, or the network blocks access to Okta."
    " No event is lost: polling continues where it stopped."
)
_DATABASE_CHECKS = (
    "Is the disk full? Is the server down? Does another program hold a lock? Until oktawatch can write, it detects"
    " nothing and sends no alerts. No event is lost: polling continues where it stopped."
)
_LOST_DATABASE_STEPS = (
    "Nothing is detected until the daemon runs again. Restore a backup, or move a damaged file away, and start the"
    " daemon unless systemd has done so. A restored database continues where it stopped. With a new one, run"
    " 'oktawatch backfill' to read past events again."
)
_EVENTS_CHECKS = (
    "Does a proxy change Okta's answers? If Okta has changed its format, install a newer oktawatch. Events that can't"
    " be used are kept in the table rejected_events, with the reason."
)
_NOTIFIER_CHECKS = (
    "The address, the credentials, and whether the service is up. Undelivered messages are retried. A message that is"
    " too old, or that the receiver refuses permanently, becomes a dead letter: 'oktawatch notifications retry' sends"
    " it again."
)
_RULE_CHECKS = (
    "What does the rule do with this event? Look for a regular expression that backtracks, a loop over a long text,"
    " or a call that waits. The events were stored, and all other rules were applied to them. Fix the rule,"
    " reload, and run 'oktawatch backfill' for that period."
)

Subject = Mapping[str, Any]


def alarm_message(notification_id: str, content: Mapping[str, Any]) -> Message:
    """Return the message about the start or the end of failures."""
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
        *(_rule_heading(rule) for rule in rules),
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
    if state is AlarmState.OVER:
        return f"oktawatch can write to its database again{_duration_of(database, ' after ')}"
    if database.get("lost"):
        return "oktawatch has stopped: its database is damaged, or the file was deleted or replaced"
    return f"oktawatch {_unable(database)} write to its database{_since(database)}"


def _database_lines(state: AlarmState, databases: Sequence[Subject]) -> Iterator[Line]:
    if state is AlarmState.OVER:
        yield from _listed("Database", databases, _period)
    elif databases:
        yield from _listed("Database", databases, _reason)
        lost = any(database.get("lost") for database in databases)
        yield Line(
            "What to do" if lost else "What to check", _LOST_DATABASE_STEPS if lost else _DATABASE_CHECKS
        )
        yield Line("Run", "oktawatch check", typed=True)


def _org_heading(state: AlarmState, orgs: Sequence[Subject]) -> str:
    if len(orgs) > 1:
        verb = "can't be polled" if state is AlarmState.RAISED else "are polled again"
        return f"{len(orgs)} orgs {verb}: {_names(orgs)}"
    (org,) = orgs
    if state is AlarmState.RAISED:
        return f"{_name(org)} has not been polled{_since(org)}"
    return f"{_name(org)} is polled again{_duration_of(org, ' after ')}"


def _events_heading(state: AlarmState, unusable: Sequence[Subject]) -> str:
    verb = "can't be used" if state is AlarmState.RAISED else "can be used again"
    return f"Events of {_names(unusable)} {verb}"


def _notifier_heading(state: AlarmState, notifiers: Sequence[Subject]) -> str:
    if len(notifiers) > 1:
        verb = "can't deliver" if state is AlarmState.RAISED else "can deliver again"
        return f"{len(notifiers)} notifiers {verb}: {_names(notifiers)}"
    (notifier,) = notifiers
    if state is AlarmState.RAISED:
        return f"Notifier {_name(notifier)} {_unable(notifier)} deliver{_since(notifier)}"
    return f"Notifier {_name(notifier)} can deliver again{_duration_of(notifier, ' after ')}"


def _rule_heading(rule: Subject) -> str:
    reason = harmless(rule.get("error", "it took too long"), 100)
    return f"Rule {_name(rule)} was skipped for some events of {harmless_name(rule['org'], 100)}: {reason}"


def _unable(subject: Subject) -> str:
    return "has been unable to" if "since" in subject else "can't"


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
        yield Line("Run", "oktawatch status", typed=True)
    yield from _listed("Notifier", notifiers, _reason)
    if notifiers:
        yield Line("What to check", _NOTIFIER_CHECKS)
        yield Line("Run", _list_command(notifiers), typed=True)
    yield from _listed("Rule", rules, _reason)
    for rule in rules[:_MAX_LISTED]:
        yield Line(
            "Event",
            f"{harmless_name(rule['event_uuid'], 100)} of {harmless_name(rule['org'], 100)}",
            typed=True,
        )
    if rules:
        yield Line("What to check", _RULE_CHECKS)
        yield Line("Run", "oktawatch status", typed=True)


def _over_lines(polled: Sequence[Subject], notifiers: Sequence[Subject]) -> Iterator[Line]:
    yield from _listed("Org", polled, _period)
    yield from _listed("Notifier", notifiers, _period)
    if notifiers:
        yield Line("Undelivered messages", f"{_list_command(notifiers)} --state dead", typed=True)


def _listed(label: str, subjects: Sequence[Subject], describe: Callable[[Subject], str]) -> Iterator[Line]:
    for subject in subjects[:_MAX_LISTED]:
        yield Line(label, f"{_name(subject)}: {describe(subject)}", typed=True)
    if len(subjects) > _MAX_LISTED:
        yield Line("More", f"{len(subjects) - _MAX_LISTED} more")


def _reason(subject: Subject) -> str:
    """Return the reason of a failure and, if known, its start."""
    since = f"since {_moment(subject['since'])}, " if "since" in subject else ""
    return f"{since}{harmless(subject.get('error', 'for an unknown reason'), 300)}"


def _period(subject: Subject) -> str:
    until = _moment(subject["until"])
    return f"from {_moment(subject['since'])} to {until}" if "since" in subject else f"until {until}"


def _list_command(notifiers: Sequence[Subject]) -> str:
    """Return the command that lists the undelivered notifications.

    If there is only one notifier, the command names it. A name that a shell would interpret is left out.
    """
    names = {notifier["name"] for notifier in notifiers}
    only = f" --notifier {names.pop()}" if len(names) == 1 and _is_shell_safe(next(iter(names))) else ""
    return f"oktawatch notifications list{only}"


def _names(subjects: Sequence[Subject]) -> str:
    more = f" and {len(subjects) - _MAX_NAMED} more" if len(subjects) > _MAX_NAMED else ""
    return ", ".join(map(_name, subjects[:_MAX_NAMED])) + more


def _name(subject: Subject) -> str:
    return harmless_name(subject["name"], 100)


def _since(subject: Subject) -> str:
    return f" since {_moment(subject['since'])}" if "since" in subject else ""


def _duration_of(subject: Subject, prefix: str) -> str:
    if "since" not in subject:
        return ""
    return prefix + _duration(from_text(subject["until"]) - from_text(subject["since"]))


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
