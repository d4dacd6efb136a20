"""Notifications: messages to notifiers, stored in the outbox."""

import enum
import json
import uuid
from datetime import datetime
from typing import Any

from msgspec import Struct

from oktawatch.model.alert import Alert
from oktawatch.model.severity import Severity
from oktawatch.model.sighting import Novelty
from oktawatch.model.timestamps import to_text

_NAMESPACE = uuid.UUID("9d0f7c1e-52b1-4d5e-8a56-0c0f4c1c7a11")


class NotificationKind(enum.StrEnum):
    """The kind of a notification."""

    OPENED = "opened"
    """The first notification about an alert."""
    RAISED = "raised"
    """The severity of a notified alert was raised."""
    ACKNOWLEDGED = "acknowledged"
    """A person acknowledged an alert."""
    CLOSED = "closed"
    """A person closed an alert, or changed the verdict of a closed alert."""
    DIGEST = "digest"
    """Several alerts in one message."""
    SILENCE = "silence"
    """An alarm about oktawatch itself began or ended."""
    TEST = "test"


OPENED_OR_RAISED = (NotificationKind.OPENED, NotificationKind.RAISED)
"""Kinds caused by new events. ACKNOWLEDGED and CLOSED report a person's decision."""


class NotificationState(enum.StrEnum):
    """The state of a notification."""

    PENDING = "pending"
    SENT = "sent"
    DIGESTED = "digested"
    """Replaced by the digest that it names."""
    DROPPED = "dropped"
    """Not sent: a more severe notification replaced it, or a person discarded it, possibly by closing its alert."""
    DEAD = "dead"
    """A dead letter: delivery was given up."""


class AlarmState(enum.StrEnum):
    """The state of an alarm about oktawatch itself."""

    RAISED = "raised"
    OVER = "over"


class Notification(Struct, frozen=True, kw_only=True):
    """A message to a notifier about an alert."""

    id: str
    """The idempotency key, the same on every attempt."""
    alert: Alert
    notifier: str
    kind: NotificationKind
    severity: Severity
    late: bool
    """Whether the notification was created long after its event was published."""

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
        again: bool = False,
    ) -> "Notification":
        """Create the notification of an alert.

        Its id is a hash of the alert's identity, the notifier, the kind and the severity. If a page is processed again
        after the database was lost or restored, the receiver gets the same key and recognizes the duplicate.

        ``again`` gives the notification another id, because one with the same kind and severity may exist already.
        """
        identity = [org, alert.rule_id, alert.dedup_key, to_text(alert.anchor), notifier, kind, severity.name]
        if again:
            identity.append("again")
        name = json.dumps(identity, ensure_ascii=False, separators=(",", ":"))
        return cls(
            id=str(uuid.uuid5(_NAMESPACE, name)),
            alert=alert,
            notifier=notifier,
            kind=kind,
            severity=severity,
            late=late,
        )


def incident_id(org: str, rule_id: str, dedup_key: str, anchor: str) -> str:
    """Return the id that all messages about one alert share, even after the database is lost."""
    name = json.dumps([org, rule_id, dedup_key, anchor], ensure_ascii=False, separators=(",", ":"))
    return str(uuid.uuid5(_NAMESPACE, name))


class EventReference(Struct, frozen=True):
    """The data needed to find an event in Okta."""

    uuid: str
    published: datetime


class DigestReason(enum.StrEnum):
    """The reason why notifications are combined into a digest."""

    LATE = "late"
    """Their events are old."""
    CAMPAIGN = "campaign"
    """One address or network affected many people."""
    ABOVE = "above"
    """They exceed the notifier's limit per minute."""


class Digest(Struct, frozen=True, kw_only=True):
    """A summary of the alerts in a digest. The dictionaries count the most frequent values, except ``got_in_names``."""

    reason: DigestReason
    source: str | None
    """The address of a campaign, or the AS number of its network."""
    alerts: int
    people: int
    got_in: int = 0
    """The number of people with a success."""
    got_in_names: dict[str, int] = {}
    """The names of some of these people, each with the id of an alert."""
    risen: bool = False
    """Whether the severity of any alert includes the extra level for a success after failures."""
    alert_ids: list[int] = []
    """The smallest ids, those of alerts with a success first."""
    severities: dict[str, int]
    rules: dict[str, int]
    orgs: dict[str, int]
    who: dict[str, int]
    tried: dict[str, int] = {}
    """People without a success."""
    addresses: dict[str, int]
    countries: dict[str, int]
    first_event_at: datetime | None
    last_event_at: datetime | None


class DueNotification(Struct, frozen=True, kw_only=True):
    """A notification to send: its outbox row, with the present state of its alert or digest."""

    id: str
    notifier: str
    kind: NotificationKind
    severity: Severity | None
    """The alert's severity when the notification was created. None for a message that is not about an alert."""
    attempts: int
    """The number of previous attempts."""
    created_at: datetime
    retried_at: datetime | None = None
    """When a person last retried it."""
    alert: dict[str, Any] | None = None
    """The row of ``alerts`` as JSON values."""
    event: EventReference | None = None
    """The alert's earliest event."""
    incident: str | None = None
    """See `incident_id`."""
    failures_before: int | None = None
    """The number of failures before the earliest success; None if no success followed a failure."""
    novelty: Novelty | None = None
    """What was new for the person at the alert's earliest event. None for a message that is not about an alert."""
    digest: Digest | None = None
    content: dict[str, Any] | None = None
    """The content of an alarm or of a message about a person's decision, or the topic of a digest."""
