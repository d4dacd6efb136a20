"""Check that a class satisfies the rule contract.

The type checker covers the rules that come with the program. No type checker sees a rule that an operator
wrote, so its mistakes are found and described here, before it looks at any event.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from typing import Any, get_args

from oktawatch.detection.anonymizer_signals import AnonymizerSignals
from oktawatch.detection.event_types import is_pattern
from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.options import LONGEST_PERIOD
from oktawatch.detection.probes import probe_faults
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.rule_guard import is_interrupt
from oktawatch.detection.signals import SignalRule
from oktawatch.detection.windows import HistoryRule, WindowRule
from oktawatch.model.history import COLUMNS, Column
from oktawatch.model.severity import Severity

_is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}").fullmatch


def fault_of(rule_class: type[Rule]) -> str | None:
    """Return what a class lacks to be a rule, in one sentence; None when it is one."""
    return next(_faults(rule_class), None)


def _faults(rule_class: type[Rule]) -> Iterator[str]:
    if not issubclass(rule_class, (EventRule, HistoryRule)):
        yield "expected a subclass of a kind of rule, such as EventRule or CountInWindow"
    if "__dataclass_params__" not in vars(rule_class):
        yield "expected @dataclass(frozen=True, kw_only=True) above the class"
    if missing := sorted(getattr(rule_class, "__abstractmethods__", ())):
        yield f"expected the method {missing[0]}, which its kind needs"
    yield from _metadata_faults(rule_class)
    yield from _default_faults(rule_class)
    make: Any = rule_class  # that it can be made of its defaults, with the right types, is the question
    try:
        rule = make()
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"it can't be made: {type(error).__name__}: {error}"
        return
    yield from _number_faults(rule)
    if isinstance(rule, WindowRule):
        yield from _window_faults(rule)
    yield from probe_faults(rule)


def _default_faults(rule_class: type[Rule]) -> Iterator[str]:
    """Find numbers without a default, and defaults without a type, which would change nothing."""
    for one in fields(rule_class):
        untyped = getattr(rule_class, one.name, one.default) is not one.default
        if untyped or (one.default is MISSING and one.default_factory is MISSING):
            kind = one.type.__name__ if isinstance(one.type, type) else one.type
            yield f"{one.name}: expected a default, with the type before it: {one.name}: {kind} = …"


def missing_signals(rule_class: type[Rule], known: Mapping[str, type[Rule]]) -> str | None:
    """Return which signal a rule uses that does not exist, in one sentence; None if all exist."""
    there = [name for name, one in known.items() if issubclass(one, SignalRule)]
    for name in rule_class.signals if issubclass(rule_class, WindowRule) else ():
        if name not in there:
            return f"signals: there is no signal {name}; there are: {', '.join(there)}"
    return None


def _window_faults(rule: WindowRule) -> Iterator[str]:
    try:
        fewest: Any = rule.fewest
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"fewest: it raised {type(error).__name__}: {error}"
        return
    if type(fewest) is not int or fewest < 1:
        yield "fewest: expected a whole number of at least 1"


def _metadata_faults(rule_class: type[Rule]) -> Iterator[str]:
    def given(name: str) -> Any:
        return inspect.getattr_static(rule_class, name, None)

    if not isinstance(given("id"), str) or not _is_id(given("id")):
        yield "id: expected letters, digits, dots, hyphens and underscores, such as Acme.Odd.Hours"
    for name, expected, fits in _METADATA:
        if not fits(given(name)):
            yield f"{name}: expected {expected}"
    signals = given("signals")
    is_option = isinstance(signals, AnonymizerSignals)
    if signals and not is_option and not (issubclass(rule_class, WindowRule) and _are_texts(signals, _is_id)):
        yield 'signals: expected a tuple of ids such as ("Okta.Login.Success",), in a rule about a window'
    if not given("event_types") or not _are_texts(given("event_types"), _names_something):
        yield 'event_types: expected a tuple such as ("user.session.start", "zone.*")'
    if issubclass(rule_class, HistoryRule):
        yield from _column_faults(rule_class)


def _column_faults(rule_class: type[HistoryRule]) -> Iterator[str]:
    column = getattr(rule_class, "column", None)
    if column not in get_args(Column):
        yield f"column: expected one of {', '.join(get_args(Column))}"
    if issubclass(rule_class, FirstSeen) and not set(rule_class.conditions) <= set(COLUMNS):
        yield f"conditions: expected some of {', '.join(COLUMNS)}"
    if issubclass(rule_class, WindowRule) and rule_class.keyed_by:
        keyed_by = rule_class.keyed_by
        if not _are_texts(keyed_by, COLUMNS.__contains__) or column not in keyed_by:
            yield f'keyed_by: expected a tuple of columns such as ("actor_id", "client_ip"), with {column} among them'


def _number_faults(rule: Any) -> Iterator[str]:
    if not isinstance(rule.severity, Severity):
        yield "severity: expected one such as Severity.MEDIUM"
    if type(rule.threshold) is not int or rule.threshold < 1:
        yield "threshold: expected a whole number of at least 1"
    periods = {"dedup_period": rule.dedup_period}
    if isinstance(rule, HistoryRule):
        periods["window"] = rule.window
    for name, period in periods.items():
        if not isinstance(period, timedelta) or not timedelta() < period <= LONGEST_PERIOD:
            yield f"{name}: expected a timedelta, more than nothing and at most 400 days"
    try:
        needed = rule.needed_types()
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"needed_types: it raised {type(error).__name__}: {error}"
    else:
        if not needed or not _are_texts(needed, _names_something):
            yield "needed_types: expected a tuple of event types"


def _are_texts(value: Any, fits: Callable[[str], Any]) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str) and fits(one) for one in value)


def _names_something(event_type: str) -> bool:
    return event_type not in {"", "*"} and is_pattern(event_type) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_METADATA: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    *((name, "a text", _is_text) for name in ("name", "description", "runbook", "false_positives")),
    *((name, "True or False", _is_flag) for name in ("on_by_default", "signal")),
    *((name, "a tuple of texts", lambda value: _are_texts(value, bool)) for name in ("mitre", "references")),
)
