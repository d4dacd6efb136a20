"""An alert: the matches of one dedup key within one dedup period of its anchor."""

import enum
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from oktawatch.model.match import AlertDetails
from oktawatch.model.severity import Severity


class AlertStatus(enum.StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    """Its rule's threshold is not reached: not shown and not told yet."""
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class DedupKey(NamedTuple):
    """Which alerts of an org a match may join."""

    rule_id: str
    dedup_key: str


class Alert(Struct, kw_only=True):
    """The part of an alert that grouping and telling decide by; changed by them in place."""

    id: int | None = None
    """None until it is stored for the first time."""
    rule_id: str
    dedup_key: str
    anchor: datetime
    """``published`` of the match that opened it. Never moves."""
    severity: Severity
    status: AlertStatus
    event_count: int
    first_event_at: datetime
    last_event_at: datetime
    successes: int = 0
    """How many of its events have the outcome SUCCESS or ALLOW."""
    failures: int = 0
    """How many of its events have the outcome FAILURE or DENY."""
    succeeded_at: datetime | None = None
    """Event time of the earliest success."""
    failed_at: datetime | None = None
    """Event time of the earliest failure."""
    risen: bool = False
    """Whether it went up a level because somebody got in after failures. Never taken back."""
    closed_at: datetime | None = None
    told: Severity | None = None
    """The severity at which it was last told; None: never."""
    title: str | None = None
    """A title that replaces the stored one; None keeps it."""
    details: AlertDetails | None = None
    """What it shows; only an alert that is not stored yet carries it."""

    @property
    def key(self) -> DedupKey:
        """Which matches may join it."""
        return DedupKey(self.rule_id, self.dedup_key)
