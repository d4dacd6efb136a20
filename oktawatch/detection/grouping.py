"""Group matches into alerts, and decide which alerts to notify about.

The *anchor* of an alert is the time of the match that opened it. D is the rule's dedup period. The first of
these cases that applies to a match at time t selects its alert:

1. The match joins the latest alert with the same dedup key and anchor <= t < anchor + D, unless this alert
   was closed before t.
2. The match joins the earliest alert with the same dedup key and t < anchor < t + D. This match arrived late.
3. The match opens an alert with the anchor t.

Anchors never move, and a match never changes its alert. So every match belongs to exactly one alert, and
page boundaries have no effect on the alerts. Matches are processed in the order of the stream. A different
order can produce different alerts, so matches are never sorted.

An alert *has risen* if its earliest success is later than its earliest failure, by event time. If its highest match is
at least MEDIUM, the severity of a risen alert is one level above that match, at most CRITICAL. A late event never
lowers the severity again. With the rule's option ``raise_on_success`` off, no alert rises. For an alert that was notified
as CRITICAL, no higher level is left: its rise lowers `Alert.told` (the notified severity), and so causes a notice.

Adding a match produces a notice if all of these conditions hold:

- Notifications are on (``notify``).
- The match's alert is open or acknowledged.
- The alert has no notice yet, or its severity is higher than `Alert.told`.

The match may already be recorded: if the daemon reads an event after a silent backfill, it still sends the alert.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from oktawatch.model.alert import Alert, AlertStatus, DedupKey
from oktawatch.model.match import Match, MatchKey
from oktawatch.model.severity import RISES_FROM, Severity

_NOTIFIABLE = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)
# The value of `Alert.told` after the rise of an alert that was notified as CRITICAL. It is stored, so a rise in a silent
# backfill is notified later. INFO is used because a success doesn't raise an INFO alert. A match can make an INFO alert
# CRITICAL, which can look the same: its notice is then marked `again`, which only changes the notification's id.
_TOLD_ANEW = Severity.INFO


class NoticeKind(StrEnum):
    """The reason for a notice."""

    OPENED = "opened"
    """The alert had no notice yet."""
    RAISED = "raised"
    """The alert's severity is higher than in its last notice, or a CRITICAL alert has risen."""


class Notice(NamedTuple):
    """A notification to send: an alert was opened, or its severity was raised."""

    alert: Alert
    kind: NoticeKind
    severity: Severity
    published: datetime
    """The time of the event that caused the notice."""
    again: bool = False
    """Whether a CRITICAL notice may have been sent before. If so, only the success after failures is new."""


class GroupingPolicy(Struct, frozen=True):
    """A rule's grouping options."""

    dedup_period: timedelta
    threshold: int
    signal: bool = False
    """Whether matches are recorded without opening alerts."""
    raise_on_success: bool = True
    """Whether a success after failures raises the alert's severity."""


class Grouping:
    """Groups one page's matches and collects the changes."""

    def __init__(
        self,
        policies: Mapping[str, GroupingPolicy],
        *,
        recorded: Mapping[MatchKey, int | None],
        alerts: Iterable[Alert],
        notify: bool,
    ) -> None:
        """Start from the stored state.

        ``recorded`` maps each match that is already recorded to the id of its alert, or to None for a signal.
        ``alerts`` contains these alerts, and all alerts that a match of the page could join: those with its dedup key
        and an anchor less than D before or after it.
        """
        self._policies = policies
        self._notify = notify
        self._by_key: dict[DedupKey, list[Alert]] = {}
        by_id: dict[int | None, Alert] = {}
        for alert in sorted(alerts, key=lambda alert: alert.anchor):
            self._by_key.setdefault(alert.key, []).append(alert)
            by_id[alert.id] = alert
        self._alert_of = {key: by_id.get(alert_id) for key, alert_id in recorded.items()}
        self.new: list[tuple[Match, Alert | None]] = []
        """Matches to record and their alerts, in the order of the stream."""
        self.opened: list[Alert] = []
        """Alerts to insert."""
        self.visible: list[Alert] = []
        """Alerts that reached the rule's threshold with this page."""
        self.notices: list[Notice] = []
        self._changed: dict[int, Alert] = {}

    @property
    def changed(self) -> list[Alert]:
        """Alerts to update."""
        return list(self._changed.values())

    def add(self, match: Match) -> None:
        """Add the next match of the stream."""
        key = match.key
        if key in self._alert_of:
            alert = self._alert_of[key]
        else:
            policy = self._policies[match.rule_id]
            alert = None if policy.signal else self._group(match, policy)
            self._alert_of[key] = alert
            self.new.append((match, alert))
        if alert is not None and self._notify:
            self._add_notice(alert, match)

    def _group(self, match: Match, policy: GroupingPolicy) -> Alert:
        key = DedupKey(match.rule_id, match.dedup_key)
        alerts = self._by_key.setdefault(key, [])
        alert = _joinable(alerts, match, policy.dedup_period)
        if alert is None:
            alert = _opened_by(match)
            insort(alerts, alert, key=lambda alert: alert.anchor)
            self.opened.append(alert)
        if match.event.succeeded and alert.successes == 0 and alert.event_count > 0:
            alert.title = match.details().title  # the title so far describes an event without success
        alert.event_count += 1
        alert.first_event_at = min(alert.first_event_at, match.published)
        alert.last_event_at = max(alert.last_event_at, match.published)
        _count_outcome(alert, match)
        _set_severity(alert, match, policy)
        if alert.status is AlertStatus.PENDING and alert.event_count >= policy.threshold:
            alert.status = AlertStatus.OPEN
            self.visible.append(alert)
        self._note_change(alert)
        return alert

    def _add_notice(self, alert: Alert, match: Match) -> None:
        if alert.status not in _NOTIFIABLE or (alert.told is not None and alert.severity <= alert.told):
            return
        kind = NoticeKind.OPENED if alert.told is None else NoticeKind.RAISED
        again = alert.risen and alert.told is _TOLD_ANEW and alert.severity is Severity.CRITICAL
        alert.told = alert.severity
        self._note_change(alert)
        self.notices.append(Notice(alert, kind, alert.severity, match.published, again))

    def _note_change(self, alert: Alert) -> None:
        if alert.id is not None:
            self._changed[alert.id] = alert


def _count_outcome(alert: Alert, match: Match) -> None:
    if match.event.succeeded:
        alert.successes += 1
        alert.succeeded_at = min(alert.succeeded_at or match.published, match.published)
    elif match.event.failed:
        alert.failures += 1
        alert.failed_at = min(alert.failed_at or match.published, match.published)


def _set_severity(alert: Alert, match: Match, policy: GroupingPolicy) -> None:
    highest = max(_highest_match(alert), match.severity)
    if policy.raise_on_success and not alert.risen and alert.failed_at and alert.succeeded_at:
        alert.risen = alert.failed_at < alert.succeeded_at
        if alert.risen and alert.told is Severity.CRITICAL:
            alert.told = _TOLD_ANEW
    alert.severity = highest.raised() if alert.risen and highest >= RISES_FROM else highest


def _highest_match(alert: Alert) -> Severity:
    """Return the highest severity of the alert's matches.

    A risen CRITICAL alert can have HIGH or CRITICAL matches. Return HIGH for both, because both rise to CRITICAL.
    """
    if alert.risen and alert.severity > RISES_FROM:
        return Severity(alert.severity - 1)
    return alert.severity


def _joinable(alerts: list[Alert], match: Match, period: timedelta) -> Alert | None:
    index = bisect_right(alerts, match.published, key=lambda alert: alert.anchor)
    if index > 0:
        latest = alerts[index - 1]
        closed_before = latest.closed_at is not None and latest.closed_at < match.published
        if match.published - latest.anchor < period and not closed_before:
            return latest
    if index < len(alerts) and alerts[index].anchor - match.published < period:
        return alerts[index]
    return None


def _opened_by(match: Match) -> Alert:
    return Alert(
        rule_id=match.rule_id,
        dedup_key=match.dedup_key,
        anchor=match.published,
        severity=match.severity,
        status=AlertStatus.PENDING,
        event_count=0,
        first_event_at=match.published,
        last_event_at=match.published,
        details=match.details(),
    )
