"""The state of one notifier's outbox, and a plan for its next messages: plain values between `store` and `notify`."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.model.notification import DigestReason, NotificationKind
from oktawatch.model.severity import Severity


class DigestTopic(Struct, frozen=True, omit_defaults=True):
    """What the alerts of one digest have in common."""

    reason: DigestReason
    by: str | None = None
    """For a campaign: the column that holds its source, ``client_ip`` or ``as_number``."""
    source: str | int | None = None
    """The campaign's address, or the number of its network."""
    urgent: bool = False
    """Its alerts are HIGH or CRITICAL."""

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "DigestTopic":
        """Parse the topic from a digest's ``content`` column."""
        return msgspec.convert(content, cls)

    def to_content(self, *, people: int) -> dict[str, Any]:
        """Return the value of the ``content`` column."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content | ({"people": people} if people else {})


class WaitingNotification(Struct, frozen=True, kw_only=True):
    """A pending notification, with the parts of its alert that decide how it is sent."""

    id: str
    kind: NotificationKind
    severity: Severity | None
    """Of its alert; None for a message that is about no single alert."""
    late: bool
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    alert_id: int | None = None
    topic: DigestTopic | None = None
    """For a digest."""
    client_ip: str | None = None
    as_number: int | None = None
    person: str | None = None


class SentNotification(Struct, frozen=True, kw_only=True):
    """A message that the receiver has taken."""

    kind: NotificationKind
    severity: Severity | None
    sent_at: datetime
    topic: DigestTopic | None = None


class OpenedAlert(Struct, frozen=True):
    """A new alert whose notification no longer waits: it counts towards a campaign."""

    client_ip: str | None
    as_number: int | None
    person: str | None


class OutboxState(Struct, frozen=True, kw_only=True):
    """One notifier's outbox at one moment."""

    waiting: list[WaitingNotification]
    """In the order of their next attempts."""
    sent: list[SentNotification] = []
    """Messages of the last minute, and digests of the time in which a campaign is remembered; the latest last."""
    opened: list[OpenedAlert] = []
    """Alerts of the time within which a campaign is recognised."""


class Postponement(Struct, frozen=True):
    """Notifications whose next attempt moves to a later time."""

    ids: list[str]
    until: datetime


class Fold(Struct, frozen=True, kw_only=True):
    """Notifications that one digest stands for."""

    ids: list[str]
    digest_id: str
    topic: DigestTopic
    people: int = 0
    """For a campaign: the people involved, those counted who were alerted before."""
    new: bool = True
    """False: the digest exists, and nobody has tried to send it yet."""


class DeliveryPlan(Struct, frozen=True, kw_only=True):
    """What happens to an outbox before its next messages are sent, and which these are."""

    postponements: list[Postponement]
    folds: list[Fold]
    send: list[str]
    """Ids, in the order in which to send them."""
