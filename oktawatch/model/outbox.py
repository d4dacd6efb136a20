"""The state of a notifier's outbox, and the plan for its next messages: plain values between `store` and `notify`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.notification import DigestReason, NotificationKind
from oktawatch.model.severity import Severity


class DigestTopic(Struct, frozen=True, omit_defaults=True):
    """The common property of the alerts in a digest."""

    reason: DigestReason
    by: str | None = None
    """The column that identifies a campaign, ``client_ip`` or ``as_number``. None if the digest is not about a campaign."""
    source: str | int | None = None
    """The campaign's address, or the AS number of its network."""
    urgent: bool = False
    """Whether the alerts are HIGH or CRITICAL."""

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "DigestTopic":
        """Parse the topic from a digest's ``content`` column."""
        return msgspec.convert(content, cls)

    def to_content(self, *, people: int, got_in: int, earlier: Sequence[int]) -> dict[str, Any]:
        """Return the value of the ``content`` column."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        counts = {"people": people, "got_in": got_in, "earlier": earlier}
        return content | {name: value for name, value in counts.items() if value}


class WaitingNotification(Struct, frozen=True, kw_only=True):
    """A pending notification, with the fields of its alert that affect its delivery."""

    id: str
    kind: NotificationKind
    severity: Severity | None
    """The alert's severity. None for a message that is not about a single alert."""
    late: bool
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    alert_id: int | None = None
    topic: DigestTopic | None = None
    """The topic of a digest. None for other kinds."""
    client_ip: str | None = None
    as_number: int | None = None
    person: str | None = None
    """The login of the alert, or else its actor's id, or else its dedup key."""
    successes: int = 0
    """The number of the alert's events with a success."""


class SentNotification(Struct, frozen=True, kw_only=True):
    """A delivered message."""

    kind: NotificationKind
    severity: Severity | None
    sent_at: datetime
    topic: DigestTopic | None = None
    got_in: int = 0
    """The number of people in a digest who had a success when the digest was created."""


class OpenedAlert(Struct, frozen=True):
    """A new alert whose own notification was sent or given up. It counts towards a campaign."""

    client_ip: str | None
    as_number: int | None
    person: str | None
    alert_id: int | None = None
    successes: int = 0


class OutboxState(Struct, frozen=True, kw_only=True):
    """A snapshot of a notifier's outbox."""

    waiting: list[WaitingNotification]
    """Pending notifications: the urgent ones first, then by their next attempt."""
    sent: list[SentNotification] = []
    """Messages of the last minute, and digests for as long as a campaign is remembered, oldest first."""
    opened: list[OpenedAlert] = []
    """Alerts within the time window of a campaign."""


class Postponement(Struct, frozen=True):
    """Notifications whose next attempt is postponed."""

    ids: list[str]
    until: datetime


class Fold(Struct, frozen=True, kw_only=True):
    """Notifications to combine into a digest."""

    ids: list[str]
    digest_id: str
    topic: DigestTopic
    people: int = 0
    """The number of people affected by a campaign, including those with earlier alerts."""
    got_in: int = 0
    """The number of people with a success in the folded alerts."""
    earlier: list[int] = []
    """The ids of a campaign's alerts that were sent one by one before it was recognized."""
    new: bool = True
    """Whether to create the digest. False if it exists and hasn't been attempted yet."""


class DeliveryPlan(Struct, frozen=True, kw_only=True):
    """The changes to make to an outbox, and the messages to send next."""

    postponements: list[Postponement]
    folds: list[Fold]
    send: list[str]
    """Ids in the order of sending."""
