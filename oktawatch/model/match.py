"""A match: one rule recognised one event. What "nothing twice" rests on."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct

from oktawatch.model.severity import Severity


class MatchKey(NamedTuple):
    """What makes a match the same match within an org, whoever reads the event and however often."""

    rule_id: str
    event_uuid: str


class AlertDetails(Struct, frozen=True, kw_only=True):
    """What an alert shows of the match that opened it. Names are the columns of ``alerts``."""

    title: str
    context: dict[str, Any]
    actor_id: str | None = None
    actor_alternate_id: str | None = None
    actor_display_name: str | None = None
    client_ip: str | None = None
    country: str | None = None
    city: str | None = None
    as_number: int | None = None
    as_org: str | None = None
    isp: str | None = None
    domain: str | None = None
    outcome_result: str | None = None
    outcome_reason: str | None = None


Signal = tuple[str, str, str]
"""One signal recognised one event: recorded, and never an alert. The event's published and uuid, the rule's id."""


class Match(Struct, frozen=True, kw_only=True):
    """One rule recognised one event of one org."""

    rule_id: str
    event_uuid: str
    published: datetime
    dedup_key: str
    """A JSON array of texts."""
    severity: Severity
    details: Callable[[], AlertDetails]
    """Makes what an alert shows of it; called only for a match that opens one."""

    @property
    def key(self) -> MatchKey:
        """What makes it the same match."""
        return MatchKey(self.rule_id, self.event_uuid)
