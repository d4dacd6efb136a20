"""Compose alarms about oktawatch itself: what does not work, since when, why, and what to check."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from oktawatch.model.notification import AlarmState
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import from_text
from oktawatch.notify.message import Line, Message
from oktawatch.notify.text import given, harmless

_MOST = 10  # that a message lists; a program gets all
_NAMED = 3  # in a heading
_PASTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_ORG_CHECKS = (
    "The reason above says what is wrong: most often an expired or revoked token, or a way to Okta that is barred."
    " Nothing is lost meanwhile: polling goes on from where it stopped."
)
_DATABASE_CHECKS = (
    "Whether its disk is full, its server is up and no other program holds a lock. Until it can be written nothing is"
    " detected and no alert is sent. Nothing is lost meanwhile: polling goes on from where it stopped."
)
_EVENTS_CHECKS = (
    "Whether a proxy in between changes answers, or a newer oktawatch knows a new format of Okta's. What could not"
    " be used is kept in the table rejected_events, with the reason."
)
_NOTIFIER_CHECKS = (
    "Its address, its credentials and whether the service is up. What it did not take waits, and becomes a"
    " dead letter when it is too old or refused for good: 'oktawatch notifications retry' sends those again."
)


_RULE_CHECKS = (
    "What the rule does with this event: a regular expression that backtracks, a loop over a long text, or a wait."
    " The page is committed without the rule, and 'oktawatch explain' shows what other rules say of the event."
)


def alarm_message(notification_id: str, content: Mapping[str, Any]) -> Message:
    """Compose the message that something does not work, or works again."""
    state, about = AlarmState(content["state"]), content["about"]
    orgs = [one for one in about if one["what"] == "org"]
    unusable = [one for one in about if one["what"] == "events"]
    notifiers = [one for one in about if one["what"] == "notifier"]
    databases = [one for one in about if one["what"] == "database"]
    rules = [one for one in about if one["what"] == "rule"]
    raised = state is AlarmState.RAISED
    lines = list(
        _raised(orgs, unusable, notifiers, rules) if raised else _over([*orgs, *unusable], notifiers)
    )
    lines += _database_lines(state, databases)
    heading = [_database_heading(state, databases[0])] if databases else []
    heading += [_org_heading(state, orgs)] if orgs else []
    heading += [_events_heading(state, unusable)] if unusable else []
    heading += [_notifier_heading(state, notifiers)] if notifiers else []
    heading += [f"{_name(one)} was left out of a page of {given(one['org'], 100)}" for one in rules]
    kind = f"silence.{state}"
    return Message(
        id=notification_id,
        type=kind,
        severity=Severity.HIGH if raised else None,
        heading=f"[{'ALARM' if raised else 'OVER'}] {'; '.join(heading)}",
        lines=tuple(lines),
        body={"type": kind, "silence": {"about": about}},
    )


def _database_heading(state: AlarmState, database: dict[str, Any]) -> str:
    if state is AlarmState.RAISED:
        return f"oktawatch can't write its database{_since(database)}"
    return f"oktawatch can write its database again{_after(database, ' after ')}"


def _database_lines(state: AlarmState, databases: list[dict[str, Any]]) -> Iterator[Line]:
    if state is AlarmState.OVER:
        yield from _listed("Database", databases, _how_long)
    elif databases:
        yield from _listed("Database", databases, _why)
        yield Line("What to check", _DATABASE_CHECKS)
        yield Line("Look", "oktawatch check", typed=True)


def _org_heading(state: AlarmState, orgs: list[dict[str, Any]]) -> str:
    if len(orgs) > 1:
        happens = "are not polled" if state is AlarmState.RAISED else "are polled again"
        return f"{len(orgs)} orgs {happens}: {_names(orgs)}"
    (org,) = orgs
    if state is AlarmState.RAISED:
        return f"{_name(org)} has not been polled{_since(org)}"
    return f"{_name(org)} is polled again{_after(org, ', was silent for ')}"


def _events_heading(state: AlarmState, unusable: list[dict[str, Any]]) -> str:
    can = "can't be used" if state is AlarmState.RAISED else "can be used again"
    return f"Events of {_names(unusable)} {can}"


def _notifier_heading(state: AlarmState, notifiers: list[dict[str, Any]]) -> str:
    named = "Notifier " if len(notifiers) == 1 else "Notifiers "
    if state is AlarmState.RAISED:
        since = _since(notifiers[0]) if len(notifiers) == 1 else ""
        return f"{named}{_names(notifiers)} can't deliver{since}"
    after = _after(notifiers[0], " after ") if len(notifiers) == 1 else ""
    return f"{named}{_names(notifiers)} can deliver again{after}"


def _raised(
    orgs: list[dict[str, Any]],
    unusable: list[dict[str, Any]],
    notifiers: list[dict[str, Any]],
    rules: list[dict[str, Any]],
) -> Iterator[Line]:
    yield from _listed("Org", orgs, _why)
    if orgs:
        yield Line("What to check", _ORG_CHECKS)
    yield from _listed("Org", unusable, _why)
    if unusable:
        yield Line("What to check", _EVENTS_CHECKS)
    if orgs or unusable:
        yield Line("Look", "oktawatch status", typed=True)
    yield from _listed("Notifier", notifiers, _why)
    if notifiers:
        yield Line("What to check", _NOTIFIER_CHECKS)
        yield Line("Look", _outbox(notifiers), typed=True)
    yield from _listed("Rule", rules, _why)
    yield from _listed("Event", [{**one, "name": one["event_uuid"]} for one in rules], _where)
    if rules:
        yield Line("What to check", _RULE_CHECKS)
        yield Line("Look", "oktawatch status", typed=True)


def _over(orgs: list[dict[str, Any]], notifiers: list[dict[str, Any]]) -> Iterator[Line]:
    yield from _listed("Org", orgs, _how_long)
    yield from _listed("Notifier", notifiers, _how_long)
    if notifiers:
        yield Line("What it did not get", f"{_outbox(notifiers)} --state dead", typed=True)


def _listed(
    label: str, about: list[dict[str, Any]], say: Callable[[Mapping[str, Any]], str]
) -> Iterator[Line]:
    for one in about[:_MOST]:
        yield Line(label, f"{_name(one)}: {say(one)}", typed=True)
    if len(about) > _MOST:
        yield Line("And", f"{len(about) - _MOST} more")


def _why(one: Mapping[str, Any]) -> str:
    """Say since when and why."""
    since = f"since {_moment(one['since'])}, " if "since" in one else ""
    return f"{since}{harmless(one.get('error', 'nobody knows why'), 300)}"


def _where(one: Mapping[str, Any]) -> str:
    return f"of {given(one['org'], 100)}"


def _how_long(one: Mapping[str, Any]) -> str:
    until = _moment(one["until"])
    return f"from {_moment(one['since'])} to {until}" if "since" in one else f"until {until}"


def _outbox(notifiers: list[dict[str, Any]]) -> str:
    """Give the command that shows what waits, with a name only where nothing happens when it is pasted."""
    names = {one["name"] for one in notifiers}
    only = f" --notifier {names.pop()}" if len(names) == 1 and _PASTED(next(iter(names))) else ""
    return f"oktawatch notifications list{only}"


def _names(about: list[dict[str, Any]]) -> str:
    more = f" and {len(about) - _NAMED} more" if len(about) > _NAMED else ""
    return ", ".join(map(_name, about[:_NAMED])) + more


def _name(one: Mapping[str, Any]) -> str:
    return given(one["name"], 100)


def _since(one: Mapping[str, Any]) -> str:
    return f" since {_moment(one['since'])}" if "since" in one else ""


def _after(one: Mapping[str, Any], before: str) -> str:
    if "since" not in one:
        return ""
    return before + _duration(from_text(one["until"]) - from_text(one["since"]))


def _moment(text: str) -> str:
    return f"{from_text(text):%Y-%m-%d %H:%M} UTC"


def _duration(lasted: timedelta) -> str:
    minutes = int(lasted.total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else "less than a minute"
