"""The built-in rules, and the set of enabled rules with their options."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

from oktawatch.detection.event_types import scim_filter, type_test
from oktawatch.detection.evidence import Evidence
from oktawatch.detection.grouping import GroupingPolicy
from oktawatch.detection.history import History
from oktawatch.detection.options import ReadFile, RuleOptionError, UnknownRuleError, configured
from oktawatch.detection.past_rule import PastRule
from oktawatch.detection.rule import EventRule, OnError, Rule
from oktawatch.detection.rule_guard import guarded
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.rules.blocked_anonymizer import BlockedAnonymizer
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.high_risk_admin_activity import HighRiskAdminActivity
from oktawatch.detection.rules.login_success import LoginSuccess
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.detection.rules.new_device_critical_operation import NewDeviceCriticalOperation
from oktawatch.detection.rules.session_cookie_replay import SessionCookieReplay
from oktawatch.detection.rules.shared_device_token import SharedDeviceToken
from oktawatch.detection.signals import SignalRule
from oktawatch.detection.validation import fault_of_options
from oktawatch.detection.windows import HistoryRule, WindowRule
from oktawatch.model.event import Event
from oktawatch.model.history import SIGN_IN, HistoryRow
from oktawatch.model.match import EventKey, Match, SignalIds, Signals
from oktawatch.model.timestamps import to_text

BUILT_IN: tuple[type[Rule], ...] = (
    AnonymizingVpnLogin,
    LoginSuccess,
    FirstProxiedSession,
    MultipleSessions,
    SharedDeviceToken,
    SessionCookieReplay,
    FailedLoginsUnknownUser,
    HighRiskAdminActivity,
    NewDeviceCriticalOperation,
    BlockedAnonymizer,
)


R = TypeVar("R", bound=Rule)


@dataclass(frozen=True)
class RuleSettings:
    """The configuration of one rule."""

    enabled: bool | None = None
    """None: use the rule's default and the list ``enable``."""
    options: Mapping[str, Any] = field(default_factory=dict)


class RuleSet:
    """The enabled rules. Immutable."""

    def __init__(
        self, rules: Iterable[Rule], *, complete: bool = True, evidence: Evidence = Rule.evidence
    ) -> None:
        """``complete`` is False if a custom rule can't be used. ``evidence`` classifies the sign-ins' addresses."""
        self.rules = tuple(rules)
        self.complete = complete
        self.evidence = evidence
        self.policies = {
            rule.id: GroupingPolicy(
                rule.dedup_period, rule.threshold, signal=rule.signal, raise_on_success=rule.raise_on_success
            )
            for rule in self.rules
        }
        self._history_rules = tuple(rule for rule in self.rules if isinstance(rule, HistoryRule))
        self.has_custom_rules = any(type(rule) not in BUILT_IN for rule in self.rules)
        self.windowed = tuple(rule for rule in self.rules if isinstance(rule, WindowRule))
        self.windowed_ids = frozenset(rule.id for rule in self.windowed)
        self._in_history = type_test({SIGN_IN, *self._history_types(ignore_case=False)})
        self._in_history_ignoring_case = type_test(self._history_types(ignore_case=True), ignore_case=True)

    @property
    def uses_history(self) -> bool:
        """Whether any rule is a history rule."""
        return bool(self._history_rules)

    @property
    def dedup_periods(self) -> dict[str, timedelta]:
        """The dedup period of each rule, by id."""
        return {rule.id: rule.dedup_period for rule in self.rules}

    @property
    def filter(self) -> str:
        """The SCIM filter for the event types that these rules need. Without rules, it matches no event."""
        return scim_filter(kind for rule in self.rules for kind in rule.needed_types())

    @property
    def longest_window(self) -> timedelta:
        """The longest window of any history rule. Zero without a history rule."""
        return max((rule.window for rule in self._history_rules), default=timedelta())

    @property
    def longest_buffered_window(self) -> timedelta:
        """The longest window of any windowed rule. Zero without a windowed rule."""
        return max((rule.window for rule in self.windowed), default=timedelta())

    def is_in_history(self, event_type: str) -> bool:
        """Return whether events of a type are stored in history: sign-ins, and the types that a history rule needs."""
        return self._in_history(event_type) or self._in_history_ignoring_case(event_type)

    def history_rows(self, events: Iterable[Event]) -> list[HistoryRow]:
        """Return the history rows of a page's events, for the types that `is_in_history` accepts."""
        is_needed, is_needed_ignoring_case = self._in_history, self._in_history_ignoring_case
        rows = []
        for event in events:
            if is_needed(event.eventType) or is_needed_ignoring_case(event.eventType):
                row = HistoryRow.of(event)
                row.anonymizer = self.evidence.anonymizer_of(row)
                rows.append(row)
        return rows

    def evaluate(
        self, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
    ) -> "PageFindings":
        """Return the matches and signals of a page.

        ``rows`` are the page's ``history_rows``. ``history`` does not contain this page.
        """
        matches: list[Match] = []
        signals: dict[EventKey, SignalIds] = {}
        for rule in self.rules:
            if rule.signal:
                for key in dict.fromkeys(_signal_events(rule, events, rows, history, on_error)):
                    signals[key] = (*signals.get(key, ()), rule.id)
            else:
                matches += matches_of(rule, events, rows, history, on_error)
        return PageFindings(matches, signals)

    def _history_types(self, *, ignore_case: bool) -> set[str]:
        rules = (rule for rule in self._history_rules if rule.ignore_case is ignore_case)
        return {kind for rule in rules for kind in rule.needed_types()}


class PageFindings(NamedTuple):
    """The matches and signals of a page."""

    matches: list[Match]
    signals: Signals


def matches_of(
    rule: Rule, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
) -> Iterator[Match]:
    """Return the matches of one rule on a page. See ``RuleSet.evaluate`` for the arguments."""
    if isinstance(rule, PastRule):
        yield from rule.evaluate_with_past(events, rows, history, on_error)
    elif isinstance(rule, EventRule):
        yield from rule.evaluate(events, on_error)
    elif isinstance(rule, HistoryRule):
        yield from rule.evaluate(rows, history, on_error)


def _signal_events(
    rule: Rule, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
) -> Iterator[EventKey]:
    """Return the keys of the events that are signals.

    Most events of a page can be signals. So no `Match` is built for the signals of an `EventRule`.
    """
    if isinstance(rule, EventRule):
        for event in rule.matching_events(events, on_error):
            yield event.published, event.uuid
    else:
        for match in matches_of(rule, events, rows, history, on_error):
            yield to_text(match.published), match.event_uuid


def build_rules(
    settings: Mapping[str, RuleSettings],
    *,
    enable: Iterable[str] = (),
    read_file: ReadFile,
    classes: Iterable[type[Rule]] = BUILT_IN,
) -> RuleSet:
    """Build the enabled rules with their configured options, out of all known ``classes``.

    See ``configured_rules`` and ``enabled_rules``.
    """
    return RuleSet(
        enabled_rules(configured_rules(settings, read_file=read_file, classes=classes), settings, enable)
    )


def configured_rules(
    settings: Mapping[str, RuleSettings],
    *,
    read_file: ReadFile,
    classes: Iterable[type[Rule]] = BUILT_IN,
    evidence: Evidence = Rule.evidence,
) -> dict[str, Rule]:
    """Build every rule, enabled or not, with its options and the signal rules that it uses. Return them by id.

    Raises RuleOptionError for an unknown rule or an invalid option.
    """
    known = {rule.id: rule for rule in classes}
    for rule_id in settings:
        if rule_id not in known:
            raise UnknownRuleError(rule_id, f"no such rule; there are: {', '.join(known)}")
    options = {rule_id: rule_settings.options for rule_id, rule_settings in settings.items()}
    rules = {
        rule_id: configured(rule_class, options.get(rule_id, {}), read_file)
        for rule_id, rule_class in known.items()
    }
    for rule_id, rule in rules.items():
        if type(rule) not in BUILT_IN and (fault := fault_of_options(rule)):
            raise RuleOptionError(rule_id, None, f"expected options that the rule accepts: {fault}")
        vars(rule)["evidence"] = evidence
    signals = {rule_id: _with_guard(rule) for rule_id, rule in rules.items() if isinstance(rule, SignalRule)}
    return {
        rule_id: signals[rule_id] if rule_id in signals else _with_guard(_with_signals(rule, signals))
        for rule_id, rule in rules.items()
    }


def _with_signals(rule: Rule, signals: Mapping[str, SignalRule]) -> Rule:
    return rule.with_signals(signals) if isinstance(rule, WindowRule) and rule.signals else rule


def _with_guard(rule: R) -> R:
    """Return a custom rule with guarded methods, and a built-in rule unchanged."""
    return rule if type(rule) in BUILT_IN else guarded(rule)


def enabled_rules(
    rules: Mapping[str, Rule], settings: Mapping[str, RuleSettings], enable: Iterable[str]
) -> list[Rule]:
    """Return the enabled rules.

    ``enable`` lists ids or globs of ids to enable in addition to the defaults. A rule's own ``enabled``
    setting takes precedence. Raises UnknownRuleError for an entry of ``enable`` that matches no rule.
    """
    globs = tuple(enable)
    for glob in globs:
        if not any(fnmatchcase(rule_id, glob) for rule_id in rules):
            raise UnknownRuleError(glob, f"no rule's id matches; there are: {', '.join(rules)}")
    found = []
    for rule_id, rule in rules.items():
        enabled = settings.get(rule_id, RuleSettings()).enabled
        if enabled is None:
            enabled = rule.on_by_default or any(fnmatchcase(rule_id, glob) for glob in globs)
        if enabled:
            found.append(rule)
    return found
