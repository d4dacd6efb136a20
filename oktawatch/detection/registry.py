"""The rules that exist, the rules that are on, their options, and what they need of Okta."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

from oktawatch.detection.event_types import scim_filter, type_test
from oktawatch.detection.grouping import GroupingPolicy
from oktawatch.detection.history import History
from oktawatch.detection.options import ReadFile, RuleOptionError, configured
from oktawatch.detection.rule import EventRule, OnError, Rule
from oktawatch.detection.rule_guard import guarded
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.high_risk_admin_activity import HighRiskAdminActivity
from oktawatch.detection.rules.login_success import LoginSuccess
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.detection.rules.new_device_critical_operation import NewDeviceCriticalOperation
from oktawatch.detection.rules.session_cookie_replay import SessionCookieReplay
from oktawatch.detection.rules.shared_device_token import SharedDeviceToken
from oktawatch.detection.signals import SignalRule
from oktawatch.detection.windows import HistoryRule, WindowRule
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
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
)


R = TypeVar("R", bound=Rule)


@dataclass(frozen=True)
class RuleSettings:
    """The configuration of one rule."""

    enabled: bool | None = None
    """None: by the rule's own default, or by ``enable``."""
    options: Mapping[str, Any] = field(default_factory=dict)


class RuleSet:
    """The rules that are on. Immutable."""

    def __init__(self, rules: Iterable[Rule], *, complete: bool = True) -> None:
        """``complete``: False where a rule that should be on can't be used."""
        self.rules = tuple(rules)
        self.complete = complete
        self.policies = {
            rule.id: GroupingPolicy(
                rule.dedup_period, rule.threshold, signal=rule.signal, raise_on_success=rule.raise_on_success
            )
            for rule in self.rules
        }
        self._looking_back = tuple(rule for rule in self.rules if isinstance(rule, HistoryRule))
        self.of_users = any(type(rule) not in BUILT_IN for rule in self.rules)
        """Whether any rule is a user's own."""
        self.windowed = tuple(rule for rule in self.rules if isinstance(rule, WindowRule))
        self.windowed_ids = frozenset(rule.id for rule in self.windowed)
        self._remembered = [
            type_test(
                {
                    kind
                    for rule in self._looking_back
                    if rule.any_case is any_case
                    for kind in rule.needed_types()
                },
                any_case=any_case,
            )
            for any_case in (False, True)
        ]

    @property
    def look_back(self) -> bool:
        """Whether any rule decides by more than one event."""
        return bool(self._looking_back)

    @property
    def dedup_periods(self) -> dict[str, timedelta]:
        """The dedup periods by rule id."""
        return {rule.id: rule.dedup_period for rule in self.rules}

    @property
    def filter(self) -> str:
        """The SCIM filter for the event types that these rules need.

        Without any rule it is a filter that matches nothing.
        """
        return scim_filter(kind for rule in self.rules for kind in rule.needed_types())

    @property
    def longest_window(self) -> timedelta:
        """How far back the rules look, and so how long history is needed. Zero when no rule looks back."""
        return max((rule.window for rule in self._looking_back), default=timedelta())

    @property
    def longest_look(self) -> timedelta:
        """How far the windowed rules look around an event."""
        return max((rule.window for rule in self.windowed), default=timedelta())

    def remembers(self, event_type: str) -> bool:
        """Return whether events of a type go into history because a rule may look back at them."""
        return any(test(event_type) for test in self._remembered)

    def history_rows(self, events: Iterable[Event]) -> list[HistoryRow]:
        """Return the history rows of a page: one for each event that a rule may look back at."""
        if not self._looking_back:
            return []
        wanted, wanted_in_any_case = self._remembered
        return [
            HistoryRow.of(event)
            for event in events
            if wanted(event.eventType) or wanted_in_any_case(event.eventType)
        ]

    def evaluate(
        self, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
    ) -> "PageFindings":
        """Return the matches and signals of a page; those of each rule in the order in which they come about.

        ``rows``: the page's ``history_rows``. ``history``: the history without this page. Each rule that
        looks back queries it at most twice.
        """
        matches: list[Match] = []
        signals: dict[EventKey, SignalIds] = {}
        for rule in self.rules:
            if rule.signal:
                for key in dict.fromkeys(_signalled(rule, events, rows, history, on_error)):
                    signals[key] = (*signals.get(key, ()), rule.id)
            else:
                matches += matches_of(rule, events, rows, history, on_error)
        return PageFindings(matches, signals)


class PageFindings(NamedTuple):
    """What rules found on a page."""

    matches: list[Match]
    signals: Signals


def matches_of(
    rule: Rule, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
) -> Iterator[Match]:
    """Return the matches of one rule on a page. The arguments are those of ``RuleSet.evaluate``."""
    if isinstance(rule, EventRule):
        yield from rule.evaluate(events, on_error)
    elif isinstance(rule, HistoryRule):
        yield from rule.evaluate(rows, history, on_error)


def _signalled(
    rule: Rule, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
) -> Iterator[EventKey]:
    """Return the events that are a signal. Most events can be one: no matches are made for them."""
    if isinstance(rule, EventRule):
        for event in rule.recognised(events, on_error):
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
    """Build the rules that are on, with the options of the configuration.

    ``classes``: every rule that exists. See ``configured_rules`` and ``rules_on`` for the rest.
    """
    return RuleSet(
        rules_on(configured_rules(settings, read_file=read_file, classes=classes), settings, enable)
    )


def configured_rules(
    settings: Mapping[str, RuleSettings], *, read_file: ReadFile, classes: Iterable[type[Rule]] = BUILT_IN
) -> dict[str, Rule]:
    """Build every rule, on or off, with its options and the signals that it uses, by id.

    Raises RuleOptionError.
    """
    known = {rule.id: rule for rule in classes}
    for rule_id in settings:
        if rule_id not in known:
            raise RuleOptionError(rule_id, None, f"no such rule; there are: {', '.join(known)}")
    options = {rule_id: said.options for rule_id, said in settings.items()}
    made = {rule_id: configured(one, options.get(rule_id, {}), read_file) for rule_id, one in known.items()}
    signals = {rule_id: _contained(rule) for rule_id, rule in made.items() if isinstance(rule, SignalRule)}
    return {
        rule_id: signals[rule_id] if rule_id in signals else _contained(_asking(rule, signals))
        for rule_id, rule in made.items()
    }


def _asking(rule: Rule, signals: Mapping[str, SignalRule]) -> Rule:
    return rule.asking(signals) if isinstance(rule, WindowRule) and rule.signals else rule


def _contained(rule: R) -> R:
    """Return a rule that can harm nothing: as it is if it is built-in, else guarded."""
    return rule if type(rule) in BUILT_IN else guarded(rule)


def rules_on(
    rules: Mapping[str, Rule], settings: Mapping[str, RuleSettings], enable: Iterable[str]
) -> list[Rule]:
    """Return the rules that are on.

    ``enable``: ids or globs of ids to turn on beside the defaults; a rule's own ``enabled`` takes
    precedence. Raises RuleOptionError for an entry that matches no rule.
    """
    globs = tuple(enable)
    for glob in globs:
        if not any(fnmatchcase(rule_id, glob) for rule_id in rules):
            raise RuleOptionError(glob, None, f"no rule's id matches; there are: {', '.join(rules)}")
    on = []
    for rule_id, rule in rules.items():
        said = settings.get(rule_id, RuleSettings()).enabled
        wanted = rule.on_by_default or any(fnmatchcase(rule_id, glob) for glob in globs)
        if wanted if said is None else said:
            on.append(rule)
    return on
