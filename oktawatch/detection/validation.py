"""Check that a class satisfies the rule contract.

The type checker covers built-in rules. Custom rules are not type-checked, so this module finds their
mistakes when they are loaded.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from types import FunctionType
from typing import Any, get_args

from oktawatch.detection.anonymizer_signals import AnonymizerSignals
from oktawatch.detection.event_types import is_pattern
from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.options import LONGEST_PERIOD, OPTION_TYPES
from oktawatch.detection.probes import any_true_faults, probe_faults
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.rule_guard import OVERRIDABLE, is_interrupt
from oktawatch.detection.signals import SignalRule
from oktawatch.detection.windows import HistoryRule, WindowRule
from oktawatch.model.history import COLUMNS, Column
from oktawatch.model.severity import Severity

_METHOD_TYPES = (FunctionType, property, classmethod, staticmethod)
_is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}").fullmatch


def fault_of(rule_class: type[Rule]) -> str | None:
    """Describe in one sentence why a class is not a valid rule, or return None if it is."""
    return next(_faults(rule_class), None)


def fault_of_options(rule: Rule) -> str | None:
    """Describe in one sentence why a rule of a valid class is not usable with its options, or return None if it is."""
    return next(_instance_faults(rule), None)


def _faults(rule_class: type[Rule]) -> Iterator[str]:
    if not issubclass(rule_class, (EventRule, HistoryRule)):
        yield "expected a subclass of a rule class such as EventRule or CountInWindow"
    if "__dataclass_params__" not in vars(rule_class):
        yield "expected @dataclass(frozen=True, kw_only=True) above the class"
    if missing := sorted(getattr(rule_class, "__abstractmethods__", ())):
        yield f"expected the method {missing[0]}, which its base class requires"
    yield from _metadata_faults(rule_class)
    yield from _name_faults(rule_class)
    yield from _default_faults(rule_class)
    build: Any = rule_class  # Any: the type checker doesn't know that all fields have defaults
    try:
        rule = build()
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"creating the rule raised {type(error).__name__}: {error}"
        return
    yield from _instance_faults(rule)
    yield from _option_faults(rule_class)
    yield from probe_faults(rule)


def _instance_faults(rule: Rule) -> Iterator[str]:
    """Find faults in what a rule computes from its options alone, without an event."""
    yield from _number_faults(rule)
    if isinstance(rule, WindowRule):
        yield from _window_faults(rule)
    if isinstance(rule, FirstSeen):
        yield from any_true_faults(rule)


def _name_faults(rule_class: type[Rule]) -> Iterator[str]:
    """Find methods with a name that they can't have.

    A method that replaces one of oktawatch's own would run without the guard and its time limit. A history rule's
    ``dedup`` would never be called.
    """
    ours = [base for base in rule_class.__mro__ if base.__module__.startswith("oktawatch.")]
    reserved = {
        name for base in ours for name, value in vars(base).items() if isinstance(value, _METHOD_TYPES)
    }
    for custom in rule_class.__mro__:
        if custom not in ours:
            for name in vars(custom):
                if name in reserved - OVERRIDABLE and not name.startswith("__"):
                    yield f"{name}: expected another name: oktawatch has a method of this name"
    if issubclass(rule_class, HistoryRule) and rule_class.dedup is not Rule.dedup:
        yield "dedup: expected no method of this name: a history rule groups its matches by the key of their events"


def _default_faults(rule_class: type[Rule]) -> Iterator[str]:
    """Find options without a default, and defaults without a type annotation, which have no effect."""
    for option in fields(rule_class):
        untyped = getattr(rule_class, option.name, option.default) is not option.default
        if untyped or (option.default is MISSING and option.default_factory is MISSING):
            kind = option.type.__name__ if isinstance(option.type, type) else option.type
            yield f"{option.name}: expected a default with a type: {option.name}: {kind} = …"


def _option_faults(rule_class: type[Rule]) -> Iterator[str]:
    """Find options of types that the configuration can't set."""
    for option in fields(rule_class):
        if option.default is not MISSING and not isinstance(option.default, OPTION_TYPES):
            yield (
                f"{option.name}: expected a Severity, timedelta, bool, int or tuple of strings. A constant that the"
                " configuration can't change has no type annotation"
            )


def missing_signals(rule_class: type[Rule], known: Mapping[str, type[Rule]]) -> str | None:
    """Describe in one sentence the first unknown signal rule that a rule uses, or return None."""
    known_signals = [rule_id for rule_id, known_class in known.items() if issubclass(known_class, SignalRule)]
    for signal in rule_class.signals if issubclass(rule_class, WindowRule) else ():
        if signal not in known_signals:
            return f"signals: no such signal rule {signal}; there are: {', '.join(known_signals)}"
    return None


def _window_faults(rule: WindowRule) -> Iterator[str]:
    try:
        fewest: Any = rule.fewest
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"fewest: raised {type(error).__name__}: {error}"
        return
    if type(fewest) is not int or fewest < 1:
        yield "fewest: expected a whole number of at least 1"


def _metadata_faults(rule_class: type[Rule]) -> Iterator[str]:
    def value_of(name: str) -> Any:
        return inspect.getattr_static(rule_class, name, None)

    if not isinstance(value_of("id"), str) or not _is_id(value_of("id")):
        yield "id: expected letters, digits, dots, hyphens and underscores, such as Acme.Odd.Hours"
    for name, expected, is_valid in _METADATA:
        if not is_valid(value_of(name)):
            yield f"{name}: expected {expected}"
    signals = value_of("signals")
    is_option = isinstance(signals, AnonymizerSignals)
    if (
        signals
        and not is_option
        and not (issubclass(rule_class, WindowRule) and _are_strings(signals, _is_id))
    ):
        yield 'signals: expected a tuple of ids such as ("Okta.Login.Success",), in a subclass of WindowRule'
    if not value_of("event_types") or not _are_strings(value_of("event_types"), _is_event_type):
        yield 'event_types: expected a tuple such as ("user.session.start", "zone.*")'
    if issubclass(rule_class, HistoryRule):
        yield from _column_faults(rule_class)


def _column_faults(rule_class: type[HistoryRule]) -> Iterator[str]:
    column = getattr(rule_class, "column", None)
    if column not in get_args(Column):
        yield f"column: expected one of {', '.join(get_args(Column))}"
    if issubclass(rule_class, FirstSeen):
        conditions: Any = rule_class.conditions
        if not isinstance(conditions, Mapping):
            yield 'conditions: expected a dict such as {"is_proxy": True}'
        elif not conditions.keys() <= set(COLUMNS):
            yield f"conditions: expected some of {', '.join(COLUMNS)}"
    if issubclass(rule_class, WindowRule) and rule_class.keyed_by:
        keyed_by = rule_class.keyed_by
        if not _are_strings(keyed_by, COLUMNS.__contains__) or column not in keyed_by:
            yield f'keyed_by: expected a tuple of columns such as ("actor_id", "client_ip"), including {column}'


def _number_faults(rule: Any) -> Iterator[str]:
    if not isinstance(rule.severity, Severity):
        yield "severity: expected a Severity such as Severity.MEDIUM"
    if type(rule.threshold) is not int or rule.threshold < 1:
        yield "threshold: expected a whole number of at least 1"
    periods = {"dedup_period": rule.dedup_period}
    if isinstance(rule, HistoryRule):
        periods["window"] = rule.window
    for name, period in periods.items():
        if not isinstance(period, timedelta) or not timedelta() < period <= LONGEST_PERIOD:
            yield f"{name}: expected a timedelta above zero and at most 400 days"
    try:
        needed = rule.needed_types()
    except BaseException as error:
        if is_interrupt(error):
            raise
        yield f"needed_types: raised {type(error).__name__}: {error}"
    else:
        if not needed or not _are_strings(needed, _is_event_type):
            yield "needed_types: expected a tuple of event types"


def _are_strings(value: Any, is_valid: Callable[[str], Any]) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) and is_valid(item) for item in value)


def _is_event_type(value: str) -> bool:
    return value not in {"", "*"} and is_pattern(value) is not None


def _is_nonempty_string(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_tuple_of_strings(value: Any) -> bool:
    return _are_strings(value, bool)


_METADATA: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    *(
        (name, "a non-empty string", _is_nonempty_string)
        for name in ("name", "description", "runbook", "false_positives")
    ),
    *((name, "True or False", _is_bool) for name in ("on_by_default", "signal")),
    *((name, "a tuple of strings", _is_tuple_of_strings) for name in ("mitre", "references")),
)
