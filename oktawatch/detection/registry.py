"""Which rules there are, which are on, with which numbers, and what they need of Okta."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import compress
from typing import Any

from oktawatch.detection.alike import PageRows
from oktawatch.detection.event_types import scim_filter, type_test
from oktawatch.detection.grouping import GroupingPolicy
from oktawatch.detection.history import History
from oktawatch.detection.options import ReadFile, RuleOptionError, configured
from oktawatch.detection.rule import EventRule, OnError, Rule
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
from oktawatch.model.match import EventKey, Match, Names, PageSignals
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


@dataclass(frozen=True)
class RuleSettings:
    """What the configuration says of one rule."""

    enabled: bool | None = None
    """None: as the rule itself says, or as ``enable`` says."""
    options: Mapping[str, Any] = field(default_factory=dict)


class RuleSet:
    """The rules that are on. Immutable."""

    def __init__(self, rules: Iterable[Rule], *, complete: bool = True) -> None:
        """``complete``: whether every rule is there that is to be on; False where one can't be used."""
        self.rules = tuple(rules)
        self.complete = complete
        self.policies = {
            rule.id: GroupingPolicy(
                rule.dedup_period, rule.threshold, signal=rule.signal, raise_on_success=rule.raise_on_success
            )
            for rule in self.rules
        }
        self._looking_back = tuple(rule for rule in self.rules if isinstance(rule, HistoryRule))
        self.windowed = tuple(rule for rule in self.rules if isinstance(rule, WindowRule))
        self._decided_by = tuple(
            {
                column: None
                for rule in self.rules
                if isinstance(rule, HistoryRule | EventRule)
                for column in rule.decided_by() or ()
            }
        )
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
        """Whether any rule decides by more than one event: then the fields of each event are read."""
        return bool(self._looking_back)

    @property
    def dedup_periods(self) -> dict[str, timedelta]:
        """How far apart two matches of one alert can be, by rule."""
        return {rule.id: rule.dedup_period for rule in self.rules}

    @property
    def filter(self) -> str:
        """The SCIM filter that brings just the event types these rules need.

        With no rule at all it is one that brings nothing.
        """
        return scim_filter(kind for rule in self.rules for kind in rule.needed_types())

    @property
    def longest_window(self) -> timedelta:
        """How far back the rules look: history is needed that long. Nothing when none looks back."""
        return max((rule.window for rule in self._looking_back), default=timedelta())

    @property
    def longest_look(self) -> timedelta:
        """How far the rules look at everything that happened around an event."""
        return max((rule.window for rule in self.windowed), default=timedelta())

    def remembers(self, event_type: str) -> bool:
        """Tell whether events of a type are to be remembered, since a rule may look back at them."""
        return any(test(event_type) for test in self._remembered)

    def history_rows(self, events: Iterable[Event]) -> PageRows:
        """Give what must be remembered of a page: a row for each event that a rule may look back at."""
        if not self._looking_back:
            return PageRows((), ())
        wanted, wanted_in_any_case = self._remembered
        remembered = [
            HistoryRow.of(event)
            for event in events
            if wanted(event.eventType) or wanted_in_any_case(event.eventType)
        ]
        return PageRows(remembered, self._decided_by)

    def evaluate(
        self,
        events: Sequence[Event],
        rows: Sequence[HistoryRow],
        history: History,
        on_error: OnError,
        *,
        signals: bool = True,
    ) -> Iterator[Match]:
        """Give the matches of a page; those of each rule in the order in which they come about.

        ``rows``: the page's ``history_rows``. ``history``: the past without this page; read at most once
        or twice a rule, and only by rules that have something to ask. ``signals``: whether to give those
        of signals too.
        """
        for rule in self.rules:
            if rule.signal and not signals:
                continue
            if isinstance(rule, EventRule):
                yield from rule.evaluate(events, on_error, rows=rows)
            elif isinstance(rule, HistoryRule):
                yield from rule.evaluate(rows, history, on_error)

    def signals(
        self, events: Sequence[Event], rows: Sequence[HistoryRow], history: History, on_error: OnError
    ) -> PageSignals:
        """Give a page's signals: nothing but the names of what was recognised, for a fraction of a match."""
        ids, marks = [], []
        others: dict[EventKey, Names] = {}
        for rule in self.rules:
            if rule.signal and isinstance(rule, EventRule):
                ids.append(rule.id)
                marks.append(rule.marks(events, on_error, rows=rows))
            elif rule.signal and isinstance(rule, HistoryRule):
                for match in rule.evaluate(rows, history, on_error):
                    key = (to_text(match.published), match.event_uuid)
                    others[key] = (*others.get(key, ()), rule.id)
        of_events = list(zip(*marks, strict=True))
        names = {marked: tuple(compress(ids, marked)) for marked in set(of_events)}
        return PageSignals([names[marked] for marked in of_events], others)


def build_rules(
    settings: Mapping[str, RuleSettings],
    *,
    enable: Iterable[str] = (),
    read_file: ReadFile,
    classes: Iterable[type[Rule]] = BUILT_IN,
) -> RuleSet:
    """Make the rules that are on, with the numbers that the configuration gives them.

    ``classes``: every rule that there is. The rest is as in the two that follow.
    """
    return RuleSet(
        rules_on(configured_rules(settings, read_file=read_file, classes=classes), settings, enable)
    )


def configured_rules(
    settings: Mapping[str, RuleSettings], *, read_file: ReadFile, classes: Iterable[type[Rule]] = BUILT_IN
) -> dict[str, Rule]:
    """Make every rule, on or off, with its numbers and the signals that it asks for, by their ids.

    Raises RuleOptionError.
    """
    known = {rule.id: rule for rule in classes}
    for rule_id in settings:
        if rule_id not in known:
            raise RuleOptionError(rule_id, None, f"no such rule; there are: {', '.join(known)}")
    options = {rule_id: said.options for rule_id, said in settings.items()}
    made = {rule_id: configured(one, options.get(rule_id, {}), read_file) for rule_id, one in known.items()}
    signals = {rule_id: rule for rule_id, rule in made.items() if isinstance(rule, SignalRule)}
    return {
        rule_id: rule.asking(signals) if isinstance(rule, WindowRule) and rule.signals else rule
        for rule_id, rule in made.items()
    }


def rules_on(
    rules: Mapping[str, Rule], settings: Mapping[str, RuleSettings], enable: Iterable[str]
) -> list[Rule]:
    """Give those of all rules that are on.

    ``enable``: ids, or globs of ids, to turn on beside those that are on by default; a rule's own
    ``enabled`` goes before it. Raises RuleOptionError for what names no rule.
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
