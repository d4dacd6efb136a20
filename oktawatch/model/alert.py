"""An alert: matches with the same dedup key, close in time."""

import enum
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from oktawatch.model.match import AlertDetails
from oktawatch.model.severity import Severity


class AlertStatus(enum.StrEnum):
    """The status of an alert."""

    PENDING = "pending"
    """Below its rule's threshold: not shown, and nobody is notified."""
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class DedupKey(NamedTuple):
    """The rule and the dedup key that an alert shares with its matches."""

    rule_id: str
    dedup_key: str


class Alert(Struct, kw_only=True):
    """The fields of an alert that grouping and notifications need. Grouping updates them in place."""

    id: int | None = None
    """None until the alert is stored."""
    rule_id: str
    dedup_key: str
    anchor: datetime
    """``published`` of the match that opened the alert. Never changes."""
    severity: Severity
    status: AlertStatus
    event_count: int
    first_event_at: datetime
    last_event_at: datetime
    successes: int = 0
    """Number of events with the outcome SUCCESS or ALLOW."""
    failures: int = 0
    """Number of events with the outcome FAILURE or DENY."""
    succeeded_at: datetime | None = None
    """Event time of the earliest success."""
    failed_at: datetime | None = None
    """Event time of the earliest failure."""
    risen: bool = False
    """True once the earliest success is later than the earliest failure. A severity of at least `RISES_FROM` is then
    raised by one level. Without the policy's ``raise_on_success``, always False."""
    closed_at: datetime | None = None
    told: Severity | None = None
    """The severity last notified. None before the first notice.

    When an alert that was notified as CRITICAL becomes `risen`, this is lowered, so that the alert is notified again."""
    title: str | None = None
    """A new title that replaces the stored one. None keeps it."""
    details: AlertDetails | None = None
    """The displayed fields. None for an alert read from the database."""

    @property
    def key(self) -> DedupKey:
        """The rule and the dedup key."""
        return DedupKey(self.rule_id, self.dedup_key)
