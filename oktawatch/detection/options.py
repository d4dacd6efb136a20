"""Validate a rule's configured options and convert them to the types of the rule's fields."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeVar

from oktawatch.detection.anonymizer_signals import ALL_SIGNALS, AnonymizerSignals
from oktawatch.detection.event_types import EventTypes, is_pattern
from oktawatch.detection.networks import Networks
from oktawatch.detection.rule import Rule
from oktawatch.detection.rule_guard import is_interrupt
from oktawatch.model.durations import parse_duration
from oktawatch.model.severity import Severity

T = TypeVar("T")

LONGEST_PERIOD = timedelta(days=400)
"""The maximum of a duration option. Okta keeps events for only 90 days, and very long durations overflow the calendar."""
OPTION_TYPES = (Severity, timedelta, Networks, tuple, bool, int)
"""The types of the options that the configuration can change."""

ReadFile = Callable[[str], str]
"""Return the text of a file named in the configuration. Raise OSError or UnicodeDecodeError."""


class RuleOptionError(ValueError):
    """A rule's configuration is invalid."""

    def __init__(self, rule_id: str, key: str | None, problem: str) -> None:
        super().__init__(problem)
        self.rule_id = rule_id
        self.key = key
        """The invalid option. None if the rule is unknown, or its options together make it unusable."""


class UnknownRuleError(RuleOptionError):
    """The configuration names a rule that does not exist."""

    def __init__(self, name: str, problem: str) -> None:
        """``name`` is the rule's id, or a glob that matches no id."""
        super().__init__(name, None, problem)


def configured(rule_class: type[Rule], options: Mapping[str, Any], read_file: ReadFile) -> Rule:
    """Build a rule with its configured options. Raise RuleOptionError for an unknown or invalid option.

    The code of a custom rule runs on creation, and may refuse its options with any exception.
    """
    defaults = {option.name: option.default for option in fields(rule_class)}
    values = {}
    for key, value in options.items():
        if key not in defaults:
            raise RuleOptionError(
                rule_class.id, key, f"no such option; there are: enabled, {', '.join(defaults)}"
            )
        try:
            values[key] = _converted(value, defaults[key], read_file)
        except (ValueError, TypeError) as error:
            raise RuleOptionError(rule_class.id, key, str(error)) from None
    try:
        return rule_class(**values)
    except BaseException as error:
        if is_interrupt(error):
            raise
        problem = (
            f"expected options that the rule accepts: creating it raised {type(error).__name__}: {error}"
        )
        raise RuleOptionError(rule_class.id, None, problem) from None


def _converted(value: Any, default: Any, read_file: ReadFile) -> Any:
    match default:
        case Severity():
            return Severity.parse(_typed(value, str, "a severity such as MEDIUM"))
        case timedelta():
            expected = "a duration such as 6h, above zero and at most 400d"
            duration = parse_duration(_typed(value, str, expected))
            if not timedelta() < duration <= LONGEST_PERIOD:
                raise ValueError(f"expected {expected}")
            return duration
        case Networks():
            return _networks(_typed(value, str, "the path of a file of address ranges"), read_file)
        case tuple():
            return _strings(value, default)
        case bool():
            if not isinstance(value, bool):
                raise TypeError("expected true or false")
            return value
        case int():
            expected = "a whole number of at least 1"
            if _typed(value, int, expected) < 1:
                raise ValueError(f"expected {expected}")
            return value
    raise TypeError("this option can't be changed")


def _strings(value: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(default, AnonymizerSignals):
        return _signals(value)
    is_valid = is_pattern if isinstance(default, EventTypes) else bool
    expected = f"a list such as {json.dumps(default[:2])}"
    items = _typed(value, list, expected)
    if not items or not all(isinstance(item, str) and item and is_valid(item) for item in items):
        raise ValueError(f"expected {expected}")
    return type(default)(items)


def _signals(value: Any) -> AnonymizerSignals:
    expected = f"a list of {', '.join(ALL_SIGNALS)}"
    names = _typed(value, list, expected)
    if not names or not all(name in ALL_SIGNALS for name in names):
        raise ValueError(f"expected {expected}")
    return AnonymizerSignals(names)


def _typed(value: Any, kind: type[T], expected: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"expected {expected}")
    return value


def _networks(path: str, read_file: ReadFile) -> Networks:
    if not path:
        return Networks()
    try:
        return Networks.parse(read_file(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or "reading failed" if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"can't read {path}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
