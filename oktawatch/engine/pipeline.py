"""Process a page in one transaction.

Polling, sweeps and backfills fetch their pages differently, and process them here. The transaction locks the org's row,
evaluates the rules, looks up recorded matches, removes allowed matches, looks up the alerts that new matches may join,
groups and writes. A poll or backfill moves its cursor last: if another process has moved that cursor, the whole page is
rolled back.

A crash at any point loses and duplicates nothing: a page that was not committed is read again, and the matches of a
page that was committed are already recorded.

The transaction enqueues the page's notifications. `engine/deliver.py` sends them afterwards.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec import Struct, field

from oktawatch.detection.allow import NO_ENTRIES, AllowList
from oktawatch.detection.grouping import Grouping, Notice
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rule import Rule
from oktawatch.detection.rule_guard import RuleLeftOutError, budgeted
from oktawatch.engine.history_cache import HistoryCache
from oktawatch.engine.routing import Route, listeners
from oktawatch.engine.rule_budget import ALARM_INTERVAL, RuleBudget
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.model.left_out import LeftOut
from oktawatch.model.match import AllowedMatch, Match, MatchKey
from oktawatch.model.notification import Notification, NotificationKind
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from oktawatch.store.page_transaction import PageTransaction, page_transaction
from oktawatch.systemlog.page import Page

_log: Any = structlog.get_logger(__name__)

LATE = timedelta(hours=1)
"""A notification that is created this long after its event is not urgent. It is folded into a digest of late alerts."""


class Watch(Struct, frozen=True, kw_only=True):
    """The configuration of one org: its rules and routes, and the state that its pages share."""

    org: str
    tags: tuple[str, ...] = ()
    rules: RuleSet
    allow: AllowList = NO_ENTRIES
    routes: tuple[Route, ...] = ()
    cache: HistoryCache = field(default_factory=HistoryCache)
    """The org's recent history, cached from page to page."""
    watchdog: RuleWatchdog | None = None
    """Ends the process if a custom rule freezes. None if custom rules are not watched."""


class PageResult(Struct, kw_only=True):
    """The counts of one page, or the sums over several pages."""

    pages: int = 0
    events: int = 0
    """Usable events on the page."""
    new_events: int = 0
    """Events that were not recorded before."""
    rejected: int = 0
    """Rejected events that were not recorded before."""
    matches: int = 0
    """New matches, including signals and without allowed matches."""
    allowed: int = 0
    """New matches that an allow entry kept from becoming part of an alert."""
    alerts: dict[tuple[str, Severity], int] = field(default_factory=dict)
    """Alerts that reached their rule's threshold, by the rule's id and the alert's severity at the end of the page."""
    notifications: int = 0
    """Notifications for the outbox, even if it already has them. All alarms about rules left out of a page count as one."""

    @property
    def alert_count(self) -> int:
        """Alerts that reached their rule's threshold, of any severity."""
        return sum(self.alerts.values())

    @property
    def severities(self) -> dict[Severity, int]:
        """Alerts that reached their rule's threshold, by severity, the highest first."""
        counts: Counter[Severity] = Counter()
        for (_, severity), count in self.alerts.items():
            counts[severity] += count
        return dict(sorted(counts.items(), reverse=True))

    def add(self, other: "PageResult") -> None:
        """Add another page's result to this one."""
        self.pages += other.pages
        self.events += other.events
        self.new_events += other.new_events
        self.rejected += other.rejected
        self.matches += other.matches
        self.allowed += other.allowed
        self.notifications += other.notifications
        for key, count in other.alerts.items():
            self.alerts[key] = self.alerts.get(key, 0) + count


Committed = Callable[[PageResult], None]
"""Called in the event loop with the result of each committed page."""


def ignore_page(_result: PageResult) -> None:
    """Ignore a committed page."""


Advance = Callable[[PageTransaction, PageResult], None]
"""Called last in a page's transaction: moves the reader's cursor, or counts late events. CursorMovedError rolls the page back."""


def commit_page(
    database: Database, watch: Watch, page: Page, *, notify: bool, advance: Advance, now: datetime
) -> PageResult:
    """Process a page in one transaction; return its counts.

    ``notify`` enqueues notifications about alerts. Alarms about rules that are left out don't depend on it. Raises
    StoreError after rolling back the whole page.
    """
    with page_transaction(database, watch.org, now=now) as transaction:
        rows = watch.rules.history_rows(page.events)
        history = watch.cache.within(transaction.history, transaction.history_version, watch.rules, rows)
        with _custom_rules(transaction, watch, page, now) as left_out:
            found = watch.rules.evaluate(page.events, rows, history, _log_rule_error)
            grouping, allowed = _group(transaction, watch, found.matches, notify=notify)
        alarmed = bool(left_out) and transaction.note_left_out(
            left_out.values(), _notifiers_of(watch), alarm_interval=ALARM_INTERVAL
        )
        transaction.save_alerts(grouping.changed)
        transaction.open_alerts(grouping.opened)
        transaction.add_matches(grouping.new)
        transaction.add_allowed(allowed)
        notifications = _notifications(watch, grouping.notices, page.date or now)
        transaction.enqueue(notifications)
        added = transaction.add_events(page.events, rows, found.signals)
        # If a windowed rule was left out, its buffer lacks rows of this page. Then the cache is not committed, so that
        # the next page fills all buffers again.
        if left_out.keys().isdisjoint(watch.rules.windowed_ids):
            history.commit(transaction.history_version)
        result = PageResult(
            pages=1,
            events=len(page.events),
            new_events=added.events,
            rejected=transaction.add_rejected(page.rejected),
            matches=len(grouping.new) + added.signals,
            allowed=len(allowed),
            alerts=dict(Counter((alert.rule_id, alert.severity) for alert in grouping.visible)),
            notifications=len(notifications) + alarmed,
        )
        transaction.count(new_events=result.new_events, rejected=result.rejected, matches=result.matches)
        advance(transaction, result)
    if allowed:
        _log.info("matches_allowed", org=watch.org, entries=dict(Counter(match.entry for match in allowed)))
    for rule in left_out.values():
        _log.error(
            "rule_left_out", org=watch.org, rule=rule.rule_id, event_uuid=rule.event_uuid, reason=rule.reason
        )
    if result.rejected:
        reasons = sorted({rejected.reason for rejected in page.rejected})
        _log.warning("events_rejected", org=watch.org, count=result.rejected, reasons=reasons)
    return result


@contextmanager
def _custom_rules(
    transaction: PageTransaction, watch: Watch, page: Page, now: datetime
) -> Iterator[Mapping[str, LeftOut]]:
    """Limit the time of custom rules within the block; yield the rules that were left out, by id."""
    if not watch.rules.has_custom_rules:
        yield {}
        return
    frozen = transaction.frozen_calls()
    budget = RuleBudget(watch.org, page.events, frozen, watch.watchdog, now=now)
    with budgeted(budget):
        yield budget.left_out


def _notifiers_of(watch: Watch) -> list[str]:
    return [route.notifier for route in watch.routes if route.watches(watch.org, watch.tags)]


def _group(
    transaction: PageTransaction, watch: Watch, matches: Sequence[Match], *, notify: bool
) -> tuple[Grouping, list[AllowedMatch]]:
    """Group the matches that are not allowed. Return the grouping, and the allowed matches to record."""
    rules = watch.rules
    recorded = transaction.recorded([match.key for match in matches])
    new = [match for match in matches if match.key not in recorded]
    excluded, allowed = _allow(transaction, watch, new)
    matches = [match for match in matches if match.key not in excluded]
    new = [match for match in new if match.key not in excluded]
    alerts = transaction.alerts_near(new, rules.dedup_periods)
    known = {alert.id for alert in alerts}
    alerts += transaction.alerts([found for found in set(recorded.values()) if found and found not in known])
    grouping = Grouping(rules.policies, recorded=recorded, alerts=alerts, notify=notify)
    for match in matches:
        grouping.add(match)
    return grouping, allowed


def _allow(
    transaction: PageTransaction, watch: Watch, new: Sequence[Match]
) -> tuple[set[MatchKey], list[AllowedMatch]]:
    """Return the keys of allowed matches, and the allowed matches to record.

    ``new`` are the matches that are not recorded yet. A match stays allowed after its allow entry was removed.
    """
    allowed_before = transaction.allowed([match.key for match in new])
    # Reversed, so that the first of several matches with the same key decides.
    undecided = {match.key: match for match in reversed(new) if match.key not in allowed_before}
    decisions = {key: watch.allow.allowed(match, watch.org, watch.tags) for key, match in undecided.items()}
    allowed = {key: match for key, match in decisions.items() if match is not None}
    return allowed_before | allowed.keys(), list(allowed.values())


def _notifications(watch: Watch, notices: Sequence[Notice], now: datetime) -> list[Notification]:
    return [
        Notification.of(
            watch.org,
            notice.alert,
            notifier=notifier,
            kind=NotificationKind(notice.kind),
            severity=notice.severity,
            late=now - notice.published > LATE,
            again=notice.again,
        )
        for notice in notices
        for notifier in listeners(
            watch.routes,
            kind=NotificationKind(notice.kind),
            org=watch.org,
            tags=watch.tags,
            rule_id=notice.alert.rule_id,
            severity=notice.severity,
        )
    ]


def _log_rule_error(rule: Rule, event_uuid: str, error: Exception) -> None:
    if isinstance(error, RuleLeftOutError):
        return  # logged once for the page
    _log.error("rule_failed", rule=rule.id, event_uuid=event_uuid, error=f"{type(error).__name__}: {error}")
