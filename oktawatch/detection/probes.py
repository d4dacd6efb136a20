"""Call the methods of a custom rule with two invented events: one complete, one with only the required fields.

The calls find mistakes when the rule is loaded: an unknown name or attribute, wrong parameters, a result of the wrong type.
Most other exceptions are ignored, because a method may expect values that an invented event can't have.
"""

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import copy
from types import ModuleType
from typing import Any

import msgspec

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
from oktawatch.model.history import COLUMNS, HistoryRow
from oktawatch.model.severity import Severity
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
"""Methods that have one row as parameter. Methods that call others come last."""
_WINDOW_METHODS: tuple[tuple[type[Rule], tuple[str, ...]], ...] = (
    (SequenceInWindow, ("suspicious",)),
    (WindowRule, ("holds",)),
)
_PARAMETERS = {"suspicious": "rows", "holds": "window", "counts": "key"}
"""The names of the parameters that are neither an event nor a row."""
_LONG_WINDOW = 10  # rows
_JSON_TYPES = (str, int, float, bool, list, dict)


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
        yield from _result_faults(rule, "key", rows)
    if isinstance(rule, DistinctInWindow):
        yield from _result_faults(rule, "value", rows)
    for method in ("dedup", "title", "severity_of", "context"):
        yield from _result_faults(rule, method, events)


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
    """Return the rule, or, if it uses signals, two copies: for one, every event is a signal, for the other, none is."""
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
    windows = [[row] * size for row in rows for size in (1, _LONG_WINDOW)]
    for kind, methods in _WINDOW_METHODS:
        for method in methods if isinstance(rule, kind) else ():
            yield from _faults(rule, method, windows)
    if isinstance(rule, FirstSeen):
        yield from _faults(rule, "counts", ["invented"])


def any_true_faults(rule: FirstSeen) -> Iterator[str]:
    """Yield one sentence for each fault of the rule's ``any_true``."""
    columns, error = _call(rule.any_true)
    if error is not None:
        yield f"any_true: {_mistake(rule, error) or f'raised {type(error).__name__}: {error}'}"
    elif not isinstance(columns, tuple) or not all(column in COLUMNS for column in columns):
        yield f'any_true: expected a tuple of columns such as ("is_proxy",), out of {", ".join(COLUMNS)}'


def _faults(rule: Rule, method: str, arguments: Sequence[Any]) -> Iterator[str]:
    bound = getattr(rule, method)
    for argument in arguments:
        if not _can_be_called(bound, argument):
            parameter = _PARAMETERS.get(method, "event" if isinstance(argument, Event) else "row")
            yield f"{method}: expected def {method}(self, {parameter})"
            return
        result, error = _call(bound, argument)
        if error is not None and (mistake := _mistake(rule, error)):
            yield f"{method}: {mistake}"
        if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
            if inspect.iscoroutine(result):
                result.close()  # otherwise, Python warns that it was never awaited
            yield f"{method}: expected a method that returns its result, without async or yield"
            return


def _can_be_called(method: Callable[[Any], Any], argument: Any) -> bool:
    try:
        signature = inspect.signature(method)
    except (ValueError, TypeError):  # some callables of C have no signature
        return True
    try:
        signature.bind(argument)
    except TypeError:
        return False
    return True


def _call(method: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    """Call a method; return its result and its exception."""
    try:
        return method(*arguments), None
    except BaseException as error:
        if is_interrupt(error):
            raise
        return None, error


def _mistake(rule: Rule, error: BaseException) -> str | None:
    """Describe an exception that the method raises for every event, or return None if that is not certain."""
    if isinstance(error, (NameError, ImportError)):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, AttributeError) and (owner := _owner(error.obj, str(error.name))):
        is_signals_row = isinstance(rule, SignalRule) and isinstance(error.obj, HistoryRow)
        reason = ", and a signal rule can use only history columns" if is_signals_row else ""
        return f"{owner} has no {error.name}{reason}"
    return None


def _owner(value: Any, attribute: str) -> str | None:
    """Name a value that lacks the attribute for every event, or return None if that is not certain."""
    match value:
        case HistoryRow():
            return "history"
        case Event():
            return "an event"
        case Rule():
            return "the rule"
        case ModuleType():
            return f"the module {value.__name__}"
    # In a real event, the value may have another JSON type.
    if isinstance(value, _JSON_TYPES) and not any(hasattr(kind, attribute) for kind in _JSON_TYPES):
        return f"a value of type {type(value).__name__}"
    return None


def _result_faults(rule: Rule, method: str, arguments: Sequence[Any]) -> Iterator[str]:
    """Find results of the wrong type, such as a key of one part without its comma."""
    expected, is_valid = _RESULTS[method]
    for argument in arguments:
        result, error = _call(getattr(rule, method), argument)
        if error is None and not is_valid(result):
            yield f"{method}: expected {expected}"


def _is_key(key: Any) -> bool:
    return isinstance(key, tuple) and all(part is None or isinstance(part, str) for part in key)


def _is_string(title: Any) -> bool:
    return isinstance(title, str)


def _is_severity(severity: Any) -> bool:
    return _call(Severity, severity)[1] is None


def _is_hashable(value: Any) -> bool:
    return isinstance(value, Hashable) and _call(hash, value)[1] is None


def _is_json_object(context: Any) -> bool:
    return isinstance(context, dict) and _call(msgspec.json.encode, context)[1] is None


_KEY = "a tuple of strings such as (row.actor_id,), including the comma"
_RESULTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "key": (_KEY, _is_key),
    "dedup": (_KEY, _is_key),
    "value": ("a string or None", _is_hashable),
    "title": ("a string", _is_string),
    "severity_of": ("a Severity such as Severity.MEDIUM", _is_severity),
    "context": ("a dict of JSON values", _is_json_object),
}
"""By method, the expected result in words and a test for it."""
