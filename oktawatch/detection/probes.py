"""Call every method of a custom rule with two invented events, one complete and one empty.

A rule that reads an attribute that events, rows or the rule itself lack would raise for every event, so this
finds the mistake when the rule is loaded. Other exceptions are ignored: a method may expect values that an
invented event can't have.
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
_COMPLETE = {
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
"""Methods that take one row. Methods that call others come last."""
_WINDOW_METHODS: tuple[tuple[type[Rule], tuple[str, ...]], ...] = (
    (SequenceInWindow, ("suspicious",)),
    (WindowRule, ("holds",)),
)


def probe_faults(rule: Rule) -> Iterator[str]:
    """Yield one sentence for each fault in a rule's methods. The rule's metadata must be valid."""
    events = invented_events(rule.event_types[0].replace("*", "invented"))
    rows = [stored_row(event) for event in events]
    for variant in _signal_variants(rule):
        yield from _row_faults(variant, rows)
        if isinstance(variant, SignalRule):
            yield from _faults(variant, "matches", rows)
        elif isinstance(variant, EventRule):
            yield from _faults(variant, "matches", events)
    for method in ("dedup", "title", "severity_of", "context"):
        yield from _faults(rule, method, events)
    if isinstance(rule, WindowRule):
        yield from _key_faults(rule, "key", rows)
    yield from _key_faults(rule, "dedup", events)


def invented_events(event_type: str) -> list[Event]:
    """Return a complete event, and an event with only the required fields."""
    required = {"published": FIRST, "uuid": "invented", "eventType": event_type}
    return [Event.from_body({**required, **_COMPLETE}), Event.from_body(required)]


def stored_row(event: Event) -> HistoryRow:
    """Return an event's row as history stores it, without the event itself."""
    row = HistoryRow.of(event)
    row.event = None
    return row


def _signal_variants(rule: Rule) -> list[Rule]:
    """Return the rule. If it uses signals, return two copies: every event is a signal for one, and none for the other."""
    if not isinstance(rule, WindowRule) or not rule.signals:
        return [rule]
    return [_with_signals(rule, is_signal=is_signal) for is_signal in (True, False)]


def _with_signals(rule: WindowRule, *, is_signal: bool) -> Rule:
    variant = copy(rule)
    vars(variant)["signalled"] = lambda _row, _signal: is_signal
    return variant


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
        _, error = _call(getattr(rule, method), argument)
        if error is not None and (missing := _missing_name(rule, error)):
            yield f"{method}: {missing}"


def _call(method: Callable[[Any], Any], argument: Any) -> tuple[Any, BaseException | None]:
    """Call a method; return its result and its exception."""
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
        reason = ", and a signal can use only history columns" if isinstance(rule, SignalRule) else ""
        return f"history has no {error.name}{reason}"
    if isinstance(error.obj, Event):
        return f"an event has no {error.name}"
    return f"the rule has no {error.name}" if isinstance(error.obj, Rule) else None


def _key_faults(rule: Rule, method: str, arguments: Sequence[Any]) -> Iterator[str]:
    """Find keys that are not tuples of strings, such as a key of one part without its comma."""
    for argument in arguments:
        key, error = _call(getattr(rule, method), argument)
        if error is None and not _is_key(key):
            yield f"{method}: expected a tuple of strings such as (row.actor_id,), including the comma"


def _is_key(key: Any) -> bool:
    return isinstance(key, tuple) and all(part is None or isinstance(part, str) for part in key)
