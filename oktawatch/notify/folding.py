"""Decide which messages a notifier gets next, so that a flood of alerts does not become a flood of messages.

The decisions are pure functions of the state of an outbox. `engine.deliver` reads the state and applies the plan in
one transaction (`store.digests`).

HIGH and CRITICAL alerts, and alarms about oktawatch itself, are *urgent*. They have a separate allowance, as
large as the one for all other messages, so that no flood delays them. They are sent one by one, the worst
first. Only alerts that exceed the allowance are folded into a digest; alarms are never folded.

Other alerts are folded into digests for three reasons: their events are old (late), one address or network
affects many people (a campaign), or they exceed the allowance (above). In the last case the lowest severity
is folded first.

After a campaign's first digest, its alerts are collected for the next one. An alert about a success is sent at once if
few people got in, so that a single person who gets in among many failures is not noticed late.

Alerts are added to a digest until the first attempt to send the digest. After an attempt, a digest never changes and
an alert is never folded, because the receiver may have the message already.

People's decisions about alerts are sent after all alerts and never folded: a receiver that keeps incidents
needs the decision about each alert.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from oktawatch.model.notification import OPENED_OR_RAISED, DigestReason, NotificationKind
from oktawatch.model.outbox import (
    DeliveryPlan,
    DigestTopic,
    Fold,
    OpenedAlert,
    OutboxState,
    Postponement,
    SentNotification,
    WaitingNotification,
)
from oktawatch.model.severity import Severity

MINUTE = timedelta(minutes=1)
CAMPAIGN_PEOPLE = 5
"""An address or network that affects at least this many people is the source of a campaign."""
CAMPAIGN_TIME = timedelta(minutes=10)
"""A campaign's people are counted within this time. Its later alerts are collected for the same time."""
CAMPAIGN_MEMORY = 2 * CAMPAIGN_TIME
"""How long a campaign is remembered after its last digest."""
_CAMPAIGNS_AT_ONCE = 5  # new campaigns in a plan for each of `_SOURCES`: those with the most people
_MAX_EARLIER = 100  # alerts that were sent before their campaign was noticed; usually four
_LATE_INTERVAL = timedelta(minutes=1)

_Source = Callable[[WaitingNotification | OpenedAlert], str | int | None]
_SOURCES: dict[str, _Source] = {
    "client_ip": lambda alert: alert.client_ip,
    "as_number": lambda alert: alert.as_number,
}


def plan_delivery(
    outbox: OutboxState,
    *,
    now: datetime,
    per_minute: int | None,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> DeliveryPlan:
    """Return the next messages of a notifier, and the digests to create first.

    ``per_minute``: the maximum number of messages in a minute. Urgent and other messages are counted separately.
    None: no limit, and no digests.
    """
    due = [notification for notification in outbox.waiting if notification.next_attempt_at <= now]
    if per_minute is None:
        due.sort(key=_worst_first)
        return DeliveryPlan(postponements=[], folds=[], send=[notification.id for notification in due])
    # Ignore sent messages with a time over a minute ahead: the clock was wrong when that time was stored.
    sent = [message for message in outbox.sent if message.sent_at < now + MINUTE]
    outbox = msgspec.structs.replace(outbox, sent=sent)
    last_minute = [message for message in sent if message.sent_at > now - MINUTE]
    urgent_sent = sum(map(is_urgent, last_minute))
    urgent_due = [message for message in due if is_urgent(message)]
    urgent = _Lane(urgent_due, max(per_minute - urgent_sent, 0), new_id)
    urgent.fold_above(DigestTopic(DigestReason.ABOVE, urgent=True), at_least=1)
    ordinary_sent = len(last_minute) - urgent_sent
    ordinary_due = [message for message in due if not is_urgent(message)]
    ordinary = _Lane(ordinary_due, max(per_minute - ordinary_sent, 0), new_id)
    _fold_late(ordinary, outbox, now)
    rare_successes = _rare_successes(outbox, now)
    for by in _SOURCES:
        _fold_campaigns(ordinary, outbox, by, rare_successes, now)
    ordinary.fold_above(DigestTopic(DigestReason.ABOVE))
    return DeliveryPlan(
        postponements=ordinary.postponements,
        folds=urgent.folds + ordinary.folds,
        send=urgent.next_messages() + ordinary.next_messages(),
    )


def is_urgent(message: WaitingNotification | SentNotification) -> bool:
    """Return whether a message counts against the urgent allowance."""
    if message.topic is not None:
        return message.topic.urgent
    if message.kind is NotificationKind.SILENCE:
        return True
    return (
        message.kind in OPENED_OR_RAISED
        and message.severity is not None
        and message.severity >= Severity.HIGH
    )


def _worst_first(message: WaitingNotification) -> tuple[int, datetime, int]:
    return (-_rank(message), message.next_attempt_at, message.alert_id or 0)


def _rank(message: WaitingNotification) -> int:
    """Return the priority of a message: alerts by severity, with alarms as HIGH, then other messages, then decisions."""
    if message.kind is NotificationKind.SILENCE:
        return Severity.HIGH + 1
    if message.alert_id is None or message.severity is None:
        return 1
    return message.severity + 1 if message.kind in OPENED_OR_RAISED else 0


class _Lane:
    """The due notifications that share one allowance."""

    def __init__(self, due: Iterable[WaitingNotification], allowance: int, new_id: Callable[[], str]) -> None:
        self.allowance = allowance
        self.folds: list[Fold] = []
        self.postponements: list[Postponement] = []
        self._new_id = new_id
        self._digests: list[WaitingNotification] = []
        self._single: list[WaitingNotification] = []
        """Other messages that can't be folded: without an alert, or attempted before."""
        self._decisions: list[WaitingNotification] = []
        """Messages about people's decisions, which are sent with the allowance that all others leave."""
        self.alerts: dict[str, WaitingNotification] = {}
        """Alerts that can be folded, by the ids of their notifications."""
        for notification in due:
            if notification.topic is not None:
                self._digests.append(notification)
            elif notification.alert_id is not None and notification.kind not in OPENED_OR_RAISED:
                self._decisions.append(notification)
            elif notification.alert_id is None or notification.attempts:
                self._single.append(notification)
            else:
                self.alerts[notification.id] = notification

    @property
    def room(self) -> int:
        """The allowance that remains for alerts after the digests and the messages in ``_single``."""
        new_digests = sum(fold.new for fold in self.folds)
        return max(self.allowance - len(self._digests) - len(self._single) - new_digests, 0)

    def postpone(self, alerts: Iterable[WaitingNotification], until: datetime) -> None:
        """Keep alerts until a later time."""
        if ids := self._remove(alerts):
            self.postponements.append(Postponement(ids, until))

    def fold(
        self,
        alerts: Collection[WaitingNotification],
        topic: DigestTopic,
        *,
        people: int = 0,
        earlier: Sequence[int] = (),
    ) -> None:
        """Fold alerts into the due digest of their topic that has not been attempted, or else into a new digest."""
        unsent = next(
            (digest.id for digest in self._digests if digest.topic == topic and not digest.attempts), None
        )
        self.folds.append(
            Fold(
                ids=self._remove(alerts),
                digest_id=unsent or self._new_id(),
                topic=topic,
                people=people,
                got_in=len({alert.person for alert in alerts if alert.successes}),
                earlier=list(earlier),
                new=unsent is None,
            )
        )

    def fold_above(self, topic: DigestTopic, *, at_least: int = 0) -> None:
        """Fold the least severe alerts that exceed the allowance. If no allowance remains, all alerts wait.

        ``at_least``: the number of alerts to send one by one even if the digest of the others has to wait.
        """
        room = self.room
        if self.allowance and len(self.alerts) > room:
            single = max(room - 1, min(room, at_least), 0)  # one message is the digest
            self.fold(sorted(self.alerts.values(), key=_worst_first)[single:], topic)

    def next_messages(self) -> list[str]:
        """Return the ids to send: existing digests, alerts and other single messages, new digests, decisions."""
        existing = [digest.id for digest in self._digests]
        unfolded = sorted([*self._single, *self.alerts.values()], key=_worst_first)
        single = [notification.id for notification in unfolded]
        new = [fold.digest_id for fold in self.folds if fold.new]
        decisions = [decision.id for decision in sorted(self._decisions, key=_worst_first)]
        return [*existing, *single, *new, *decisions][: self.allowance]

    def _remove(self, alerts: Iterable[WaitingNotification]) -> list[str]:
        ids = [alert.id for alert in alerts]
        for notification_id in ids:
            del self.alerts[notification_id]
        return ids


def _fold_late(lane: _Lane, outbox: OutboxState, now: datetime) -> None:
    """Fold alerts about old events, at most once a minute. A single alert is not folded."""
    late = [alert for alert in lane.alerts.values() if alert.late]
    if len(late) < 2:  # noqa: PLR2004 -- a digest of one alert would say less than the alert
        return
    topic = DigestTopic(DigestReason.LATE)
    since = now - _LATE_INTERVAL
    digest_times = [sent.sent_at for sent in outbox.sent if sent.topic == topic and sent.sent_at > since]
    if digest_times:
        lane.postpone(late, digest_times[-1] + _LATE_INTERVAL)
    else:
        lane.fold(late, topic)


def _rare_successes(outbox: OutboxState, now: datetime) -> set[str]:
    """Return the ids of alerts about a success in a known campaign, from an address and network with few successes.

    A source has few successes if fewer than `CAMPAIGN_PEOPLE` people got in. Three groups count: people in its last
    digest, with a waiting alert of any age, and with an alert of the last ten minutes that was sent singly or given up.
    """
    sent = [alert for alert in outbox.opened if alert.successes]
    waiting = [
        alert
        for alert in outbox.waiting
        if alert.successes and alert.kind is NotificationKind.OPENED and not alert.late
    ]
    in_campaign, frequent = set[str](), set[str]()
    for by, source in _SOURCES.items():
        people = _people_by_source([*sent, *waiting], source)
        campaigns = {origin: digest.got_in for origin, digest in _known_campaigns(outbox, by, now).items()}
        for alert in waiting:
            origin = source(alert)
            if origin is None:
                continue
            if origin in campaigns:
                in_campaign.add(alert.id)
            if campaigns.get(origin, 0) + people[origin] >= CAMPAIGN_PEOPLE:
                frequent.add(alert.id)
    return in_campaign - frequent


def _fold_campaigns(lane: _Lane, outbox: OutboxState, by: str, excluded: set[str], now: datetime) -> None:
    """Fold the alerts of a source that affects many people within a short time, except those with ``excluded`` ids.

    Later alerts of a known campaign are collected and sent as another digest. A single later alert is not folded.
    """
    source = _SOURCES[by]
    groups: dict[str | int, list[WaitingNotification]] = defaultdict(list)
    for alert in lane.alerts.values():
        origin = source(alert)
        if alert.kind is NotificationKind.OPENED and origin is not None and alert.id not in excluded:
            groups[origin].append(alert)
    if not groups:
        return
    for origin, digest in _known_campaigns(outbox, by, now).items():
        group = groups.pop(origin, [])
        if group and now < digest.sent_at + CAMPAIGN_TIME:
            lane.postpone(group, digest.sent_at + CAMPAIGN_TIME)
        elif len(group) > 1:
            lane.fold(group, DigestTopic(DigestReason.CAMPAIGN, by, origin))
    people = _count_people(outbox, source, now)
    campaigns = [origin for origin in groups if people.get(origin, 0) >= CAMPAIGN_PEOPLE]
    campaigns.sort(key=lambda origin: (-people[origin], str(origin)))
    for origin in campaigns[: min(_CAMPAIGNS_AT_ONCE, lane.room)]:
        topic = DigestTopic(DigestReason.CAMPAIGN, by, origin)
        earlier = [alert.alert_id for alert in outbox.opened if alert.alert_id and source(alert) == origin]
        lane.fold(groups[origin], topic, people=people[origin], earlier=earlier[:_MAX_EARLIER])


def _known_campaigns(outbox: OutboxState, by: str, now: datetime) -> dict[str | int, SentNotification]:
    """Return the last digest of each recent campaign, by source."""
    return {
        sent.topic.source: sent
        for sent in outbox.sent
        if sent.topic is not None
        and sent.topic.by == by
        and sent.topic.source is not None
        and sent.sent_at > now - CAMPAIGN_MEMORY
    }


def _count_people(outbox: OutboxState, source: _Source, now: datetime) -> dict[str | int, int]:
    """Return the number of people with a recently opened alert, sent or waiting, by source."""
    since = now - CAMPAIGN_TIME
    waiting = [
        alert
        for alert in outbox.waiting
        if alert.kind is NotificationKind.OPENED and not alert.late and alert.created_at > since
    ]
    return _people_by_source([*outbox.opened, *waiting], source)


def _people_by_source(
    alerts: Iterable[WaitingNotification | OpenedAlert], source: _Source
) -> dict[str | int, int]:
    people: dict[str | int, set[str | None]] = defaultdict(set)
    for alert in alerts:
        origin = source(alert)
        if origin is not None:
            people[origin].add(alert.person)
    return {origin: len(persons) for origin, persons in people.items()}
