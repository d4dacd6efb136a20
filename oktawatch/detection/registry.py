"""Which rules there are, which are on, with which numbers, and what they need of Okta."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from oktawatch.detection.grouping import GroupingPolicy
from oktawatch.detection.networks import Networks
from oktawatch.detection.rule import Rule
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.model.durations import parse_duration
from oktawatch.model.severity import Severity

T = TypeVar("T")

BUILT_IN: tuple[type[Rule], ...] = (AnonymizingVpnLogin,)

LONGEST_PERIOD = timedelta(days=400)
"""Okta keeps events for 90 days; what is longer is a slip, and near the calendar's end an overflow."""

ReadFile = Callable[[str], str]
"""Gives the text of a file that the configuration names; raises OSError."""


class RuleOptionError(ValueError):
    """The configuration says something about a rule that makes no sense."""

    def __init__(self, rule_id: str, key: str | None, problem: str) -> None:
        super().__init__(problem)
        self.rule_id = rule_id
        self.key = key
        """Which option is wrong; None when it is the rule's id."""


@dataclass(frozen=True)
class RuleSettings:
    """What the configuration says of one rule."""

    enabled: bool | None = None
    """None: as the rule itself says, or as ``enable`` says."""
    options: Mapping[str, Any] = field(default_factory=dict)


class RuleSet:
    """The rules that are on. Immutable."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.policies = {
            rule.id: GroupingPolicy(rule.dedup_period, rule.threshold, rule.signal) for rule in self.rules
        }

    @property
    def longest_dedup_period(self) -> timedelta:
        """How far apart two matches of one alert can be."""
        return max((rule.dedup_period for rule in self.rules), default=timedelta())

    @property
    def filter(self) -> str:
        """The SCIM filter that brings just the event types these rules need.

        With no rule at all it is one that brings nothing.
        """
        patterns = {pattern for rule in self.rules for pattern in rule.event_types}
        terms = []
        covered: tuple[str, ...] = ()
        # A prefix comes before whatever it covers.
        for name, whole in sorted(
            (pattern.removesuffix("*"), not pattern.endswith("*")) for pattern in patterns
        ):
            if not name.startswith(covered):
                covered += () if whole else (name,)
                terms.append(f'eventType {"eq" if whole else "sw"} "{name}"')
        return " or ".join(terms) or 'eventType eq ""'


def build_rules(
    settings: Mapping[str, RuleSettings], *, enable: Iterable[str] = (), read_file: ReadFile
) -> RuleSet:
    """Make the rules that are on, with the numbers that the configuration gives them.

    ``enable``: ids, or globs of ids, to turn on beside those that are on by default; a rule's own
    ``enabled`` goes before it. Raises RuleOptionError; options of rules that are off are checked too.
    """
    known = {rule.id: rule for rule in BUILT_IN}
    for rule_id in settings:
        if rule_id not in known:
            raise RuleOptionError(rule_id, None, f"no such rule; there are: {', '.join(known)}")
    globs = tuple(enable)
    for glob in globs:
        if not any(fnmatchcase(rule_id, glob) for rule_id in known):
            raise RuleOptionError(glob, None, f"no rule's id matches; there are: {', '.join(known)}")
    enabled = []
    for rule_class in BUILT_IN:
        said = settings.get(rule_class.id, RuleSettings())
        rule = configured(rule_class, said.options, read_file)
        wanted = rule_class.on_by_default or any(fnmatchcase(rule_class.id, glob) for glob in globs)
        if wanted if said.enabled is None else said.enabled:
            enabled.append(rule)
    return RuleSet(enabled)


def configured(rule_class: type[Rule], options: Mapping[str, Any], read_file: ReadFile) -> Rule:
    """Make a rule with some of its numbers changed; raise RuleOptionError for one that makes no sense."""
    defaults = {one.name: one.default for one in fields(rule_class)}
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
    return rule_class(**values)


def _converted(value: Any, default: Any, read_file: ReadFile) -> Any:
    match default:
        case Severity():
            return Severity.parse(_typed(value, str, "a severity such as MEDIUM"))
        case timedelta():
            expected = "a duration such as 6h, more than nothing and at most 400d"
            duration = parse_duration(_typed(value, str, expected))
            if not timedelta() < duration <= LONGEST_PERIOD:
                raise ValueError(f"expected {expected}")
            return duration
        case Networks():
            return _networks(_typed(value, str, "the path of a file of address ranges"), read_file)
        case int():
            expected = "a whole number of at least 1"
            if _typed(value, int, expected) < 1:
                raise ValueError(f"expected {expected}")
            return value
    raise TypeError("this option can't be changed")


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
        reason = error.strerror or "it fails" if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ValueError(f"can't read {path}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
