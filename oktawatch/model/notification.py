"""What is to be told, to whom: a row of the outbox."""

import enum
import json
import uuid
from datetime import datetime
from typing import Any

from msgspec import Struct

from oktawatch.model.alert import Alert
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text

_NAMESPACE = uuid.UUID("9d0f7c1e-52b1-4d5e-8a56-0c0f4c1c7a11")


class NotificationKind(enum.StrEnum):
    """What a notification says."""

    OPENED = "opened"
    """An alert is told for the first time."""
    RAISED = "raised"
    """An alert that was told before became worse."""
    DIGEST = "digest"
    """Many alerts at once."""
    SILENCE = "silence"
    """Something that should be heard is not, or is heard again."""
    TEST = "test"


class NotificationState(enum.StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    SENT = "sent"
    DIGESTED = "digested"
    """Told by the digest it names."""
    DROPPED = "dropped"
    """Not sent and not missed: a worse one of the same alert overtook it, or a person said so."""
    DEAD = "dead"
    """Given up: a dead letter."""


class AlarmState(enum.StrEnum):
    """What a notification about oktawatch itself says."""

    RAISED = "raised"
    """Something has begun that ought not to be."""
    OVER = "over"


class Notification(Struct, frozen=True, kw_only=True):
    """One message to one notifier about one alert."""

    id: str
    """The idempotency key that a receiver sees on every attempt."""
    alert: Alert
    notifier: str
    kind: NotificationKind
    severity: Severity
    late: bool
    """The event that it tells was published long ago."""

    @classmethod
    def of(
        cls,
        org: str,
        alert: Alert,
        *,
        notifier: str,
        kind: NotificationKind,
        severity: Severity,
        late: bool = False,
    ) -> "Notification":
        """Make the notification of an alert.

        Its id is a function of what it says, so that a page which is processed again after the
        database was lost or restored gives the receiver a key that it has seen.
        """
        named = [org, alert.rule_id, alert.dedup_key, to_text(alert.anchor), notifier, kind, severity.name]
        name = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
        return cls(
            id=str(uuid.uuid5(_NAMESPACE, name)),
            alert=alert,
            notifier=notifier,
            kind=kind,
            severity=severity,
            late=late,
        )


class EventName(Struct, frozen=True):
    """What it takes to find an event in Okta."""

    uuid: str
    published: datetime


class DigestReason(enum.StrEnum):
    """Why notifications are told together."""

    LATE = "late"
    """What they tell is no news any more."""
    CAMPAIGN = "campaign"
    """One address or network troubled many people."""
    ABOVE = "above"
    """They are more than the notifier takes in a minute."""


class Digest(Struct, frozen=True, kw_only=True):
    """What a digest stands for, in numbers. Each dictionary has the few most frequent names."""

    reason: DigestReason
    source: str | None
    """A campaign's address, or the number of its network."""
    alerts: int
    people: int
    severities: dict[str, int]
    rules: dict[str, int]
    orgs: dict[str, int]
    who: dict[str, int]
    addresses: dict[str, int]
    countries: dict[str, int]
    first_event_at: datetime | None
    last_event_at: datetime | None


class DueNotification(Struct, frozen=True, kw_only=True):
    """One attempt: the outbox's row with what it tells as that stands now."""

    id: str
    notifier: str
    kind: NotificationKind
    severity: Severity | None
    """Of the alert, when it was told; None where no alert is told."""
    attempts: int
    """How often it was tried before."""
    created_at: datetime
    retried_at: datetime | None = None
    """When a person revived it."""
    alert: dict[str, Any] | None = None
    """The row of ``alerts``, its columns as JSON values."""
    event: EventName | None = None
    """The alert's first one."""
    digest: Digest | None = None
    content: dict[str, Any] | None = None
    """What it says beside alerts."""
