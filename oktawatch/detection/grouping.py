"""The law of grouping and telling: matches and the alerts they may join in, changes out.

Every rule lives under one law. An alert has an *anchor*, the time of the match that opened it; D is
the rule's dedup period. A match at t, of a dedup key,

1. joins the latest alert of its key with anchor <= t < anchor + D, unless that was closed before t;
2. else joins the earliest alert of its key with t < anchor < t + D (the match came late);
3. else opens an alert anchored at t.

Anchors never move, and a match never changes its alert. So every match is in exactly one alert,
input in time order gives the plain anchored grouping, and any cut of the stream into pages gives the
same rows. Matches are taken in the order of the stream, never sorted: no incremental engine could
give the same alerts for two different orders.

Joining counts outcomes. The first success of an alert that had only failures is news: an alert whose
earliest outcome is a failure and that has a success has *risen*. From MEDIUM on it then counts one
level above the highest of its matches, so that the telling law tells it again. What has risen stays
risen, whatever arrives late.

*Telling* stands apart from grouping, so that a silent backfill can take nothing away: whenever a
telling reader reads a match, new or recorded before, of an alert that is open or acknowledged and
whose severity is above the one last told, that is told once.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from oktawatch.model.alert import Alert, AlertStatus, DedupKey
from oktawatch.model.match import Match, MatchKey
from oktawatch.model.severity import Severity

_TELLABLE = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)
_RISES_FROM = Severity.MEDIUM
"""An alert below it stays as it is when somebody gets in."""


class TellingKind(StrEnum):
    """Why an alert is told."""

    OPENED = "opened"
    RAISED = "raised"


class Telling(NamedTuple):
    """One thing to be told: an alert reached a severity that was not told before."""

    alert: Alert
    kind: TellingKind
    severity: Severity
    published: datetime
    """When the event was published whose match told it."""


class GroupingPolicy(Struct, frozen=True):
    """How a rule's matches are grouped."""

    dedup_period: timedelta
    threshold: int
    signal: bool = False
    """Its matches are recorded and never make an alert."""
    raise_on_success: bool = True
    """Whether an alert rises when somebody gets in after failures."""


class Grouping:
    """One page's matches, taken one after the other, and what they changed."""

    def __init__(
        self,
        policies: Mapping[str, GroupingPolicy],
        *,
        recorded: Mapping[MatchKey, int | None],
        alerts: Iterable[Alert],
        telling: bool,
    ) -> None:
        """Start from what is stored.

        ``recorded``: the ids of the alerts of those matches that were recorded before, None for a
        signal. ``alerts``: at least the recorded matches' alerts, and every alert that a match of the
        page could join: its key's, with an anchor less than D away.
        """
        self._policies = policies
        self._telling = telling
        self._by_key: dict[DedupKey, list[Alert]] = {}
        by_id: dict[int | None, Alert] = {}
        for alert in sorted(alerts, key=lambda alert: alert.anchor):
            self._by_key.setdefault(alert.key, []).append(alert)
            by_id[alert.id] = alert
        self._alert_of = {key: by_id.get(alert_id) for key, alert_id in recorded.items()}
        self.new: list[tuple[Match, Alert | None]] = []
        """Matches to record, with their alerts, in the order in which they were taken."""
        self.opened: list[Alert] = []
        """Alerts to store for the first time."""
        self.visible: list[Alert] = []
        """Alerts that reached their threshold."""
        self.tellings: list[Telling] = []
        self._changed: dict[int, Alert] = {}

    @property
    def changed(self) -> list[Alert]:
        """Stored alerts to store again."""
        return list(self._changed.values())

    def take(self, match: Match) -> None:
        """Take the next match of the stream."""
        key = match.key
        if key in self._alert_of:
            alert = self._alert_of[key]
        else:
            policy = self._policies[match.rule_id]
            alert = None if policy.signal else self._group(match, policy)
            self._alert_of[key] = alert
            self.new.append((match, alert))
        if alert is not None and self._telling:
            self._tell(alert, match)

    def _group(self, match: Match, policy: GroupingPolicy) -> Alert:
        key = DedupKey(match.rule_id, match.dedup_key)
        alerts = self._by_key.setdefault(key, [])
        alert = _joinable(alerts, match, policy.dedup_period)
        if alert is None:
            alert = _opened_by(match)
            insort(alerts, alert, key=lambda alert: alert.anchor)
            self.opened.append(alert)
        if match.event.succeeded and alert.successes == 0 and alert.event_count > 0:
            alert.title = match.details().title  # the stored one says that somebody tried to get in
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

    def _tell(self, alert: Alert, match: Match) -> None:
        if alert.status not in _TELLABLE or (alert.told is not None and alert.severity <= alert.told):
            return
        kind = TellingKind.OPENED if alert.told is None else TellingKind.RAISED
        alert.told = alert.severity
        self._note_change(alert)
        self.tellings.append(Telling(alert, kind, alert.severity, match.published))

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
    if policy.raise_on_success and alert.failed_at and alert.succeeded_at:
        alert.risen = alert.risen or alert.failed_at < alert.succeeded_at
    alert.severity = highest.raised() if alert.risen and highest >= _RISES_FROM else highest


def _highest_match(alert: Alert) -> Severity:
    """Return the severity of the alert without its rise: a CRITICAL one rises from HIGH and CRITICAL alike."""
    if alert.risen and alert.severity > _RISES_FROM:
        return Severity(alert.severity - 1)
    return alert.severity


def _joinable(alerts: list[Alert], match: Match, period: timedelta) -> Alert | None:
    moment = match.published
    at = bisect_right(alerts, moment, key=lambda alert: alert.anchor)
    if at > 0:
        latest = alerts[at - 1]
        closed_before = latest.closed_at is not None and latest.closed_at < moment
        if moment - latest.anchor < period and not closed_before:
            return latest
    if at < len(alerts) and alerts[at].anchor - moment < period:
        return alerts[at]
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
