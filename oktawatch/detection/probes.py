"""Try every method of a rule on invented events: one of which everything is known, one of which nothing is.

A rule that reads a name which events, rows or the rule itself lack would raise for each event that comes
in. Whatever else a method raises here is no fault: it may expect values that an invented event can't have.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.rule_guard import is_interrupt
from oktawatch.detection.signals import SignalRule
from oktawatch.detection.windows import (
    DistinctInWindow,
    PairInWindow,
    SequenceInWindow,
    WindowRule,
)
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import FIRST

_NETWORK = {"asNumber": 64496, "asOrg": "Example", "isp": "Example", "domain": "example.com"}
_EVERYTHING = {
    "actor": {"id": "00u1", "alternateId": "nora@example.com", "displayName": "Nora", "type": "User"},
    "client": {
        "ipAddress": "203.0.113.7",
        "userAgent": {"rawUserAgent": "Mozilla/5.0", "browser": "FIREFOX", "os": "Linux"},
        "geographicalContext": {"country": "France", "city": "Paris"},
        "device": "Computer",
        "zone": "Office",
    },
    "outcome": {"result": "SUCCESS", "reason": "INVALID_CREDENTIALS"},
    "authenticationContext": {
        "externalSessionId": "102s1",
        "rootSessionId": "102s0",
        "credentialType": "OTP",
    },
    "device": {"id": "guo1"},
    "securityContext": {
        **_NETWORK,
        "isProxy": True,
        "ipDetails": {"ipServiceCategories": [{"isAnonymous": True}]},
        "risk": {"level": "HIGH"},
        "userBehaviors": [{"name": "New Device", "result": "POSITIVE"}],
    },
    "debugContext": {
        "debugData": {
            "dtHash": "d1",
            "requestApiTokenId": "00T1",
            "associatedProxies": ["EXAMPLE_PROXY"],
            "tunnels": [{"anonymous": True}],
        }
    },
    "target": [
        {"id": "00u2", "type": "User", "alternateId": "eve@example.com", "displayName": "Eve"},
        {"id": "0oa1", "type": "AppInstance", "displayName": "Example Mail"},
    ],
}
_METHODS: tuple[tuple[type[Rule], tuple[str, ...]], ...] = (
    (DistinctInWindow, ("value",)),
    (PairInWindow, ("first", "second")),
    (SequenceInWindow, ("starts", "follows")),
    (WindowRule, ("takes", "key")),
)
"""Methods that look at one row; those that call others come last."""
_WINDOW_METHODS: tuple[tuple[type[Rule], tuple[str, ...]], ...] = (
    (SequenceInWindow, ("suspicious",)),
    (WindowRule, ("holds",)),
)


def probe_faults(rule: Rule) -> Iterator[str]:
    """Yield what is wrong with a rule's methods, one sentence each. Its metadata is known to be right."""
    events = invented_events(rule.event_types[0].replace("*", "invented"))
    rows = [remembered_row(event) for event in events]
    for asked in _asked(rule):
        yield from _row_faults(asked, rows)
        if isinstance(asked, SignalRule):
            yield from _faults(asked, "matches", rows)
        elif isinstance(asked, EventRule):
            yield from _faults(asked, "matches", events)
    for method in ("dedup", "title", "severity_of", "context"):
        yield from _faults(rule, method, events)
    if isinstance(rule, WindowRule):
        yield from _key_faults(rule, "key", rows)
    yield from _key_faults(rule, "dedup", events)


def invented_events(event_type: str) -> list[Event]:
    """Return an event of which everything is known, and one of which nothing is."""
    known = {"published": FIRST, "uuid": "invented", "eventType": event_type}
    return [Event.from_body({**known, **_EVERYTHING}), Event.from_body(known)]


def remembered_row(event: Event) -> HistoryRow:
    """Return an event's row as history has it: without the event itself."""
    row = HistoryRow.of(event)
    row.event = None
    return row


def _asked(rule: Rule) -> list[Rule]:
    """Return the rule, once for each answer that it can get about the signals it asks for."""
    if not isinstance(rule, WindowRule) or not rule.signals:
        return [rule]
    return [_with_signals(rule, answer=answer) for answer in (True, False)]


def _with_signals(rule: WindowRule, *, answer: bool) -> Rule:
    made = copy(rule)
    vars(made)["signalled"] = lambda _row, _signal: answer
    return made


def _row_faults(rule: Rule, rows: Sequence[HistoryRow]) -> Iterator[str]:
    for kind, methods in _METHODS:
        for method in methods if isinstance(rule, kind) else ():
            yield from _faults(rule, method, rows)
    for kind, methods in _WINDOW_METHODS:
        for method in methods if isinstance(rule, kind) else ():
            yield from _faults(rule, method, [[row] for row in rows])
    if isinstance(rule, FirstSeen):
        yield from _faults(rule, "counts", ["invented"])


def _faults(rule: Rule, method: str, arguments: Sequence[Any]) -> Iterator[str]:
    for argument in arguments:
        _, error = _called(getattr(rule, method), argument)
        if error is not None and (missing := _missing_name(rule, error)):
            yield f"{method}: {missing}"


def _called(method: Callable[[Any], Any], argument: Any) -> tuple[Any, BaseException | None]:
    """Return what a method returned, and what it raised."""
    try:
        return method(argument), None
    except BaseException as error:
        if is_interrupt(error):
            raise
        return None, error


def _missing_name(rule: Rule, error: BaseException) -> str | None:
    if isinstance(error, NameError):
        return f"{type(error).__name__}: {error}"
    if not isinstance(error, AttributeError):
        return None
    if isinstance(error.obj, HistoryRow):
        reason = ", and a signal decides by what it does" if isinstance(rule, SignalRule) else ""
        return f"history remembers no {error.name}{reason}"
    if isinstance(error.obj, Event):
        return f"an event has no {error.name}"
    return f"the rule has no {error.name}" if isinstance(error.obj, Rule) else None


def _key_faults(rule: Rule, method: str, arguments: Sequence[Any]) -> Iterator[str]:
    """Find a key that is no tuple of texts: without its comma a key of one part is none."""
    for argument in arguments:
        key, error = _called(getattr(rule, method), argument)
        if error is None and not _is_key(key):
            yield f"{method}: expected a tuple of texts such as (row.actor_id,), with its comma"


def _is_key(key: Any) -> bool:
    return isinstance(key, tuple) and all(part is None or isinstance(part, str) for part in key)
