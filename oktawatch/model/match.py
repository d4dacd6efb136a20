"""A match: a rule matched an event. Its key ensures that each match is recorded exactly once."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct

from oktawatch.model.anonymizer_kind import Anonymizer
from oktawatch.model.severity import Severity


class MatchKey(NamedTuple):
    """The identity of a match within an org, however often the event is read."""

    rule_id: str
    event_uuid: str


class AlertDetails(Struct, frozen=True, kw_only=True):
    """The fields that an alert shows from the match that opened it. The names are columns of ``alerts``."""

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
    anonymizer: str | None = None
    """The kind of anonymizer behind the client's address."""
    operator: str | None = None
    """The anonymizer's operator."""


EventKey = tuple[str, str]
"""An event's published and uuid."""

SignalIds = tuple[str, ...]
"""The ids of the signal rules that match an event, without duplicates, in the order of the rules."""

Signals = Mapping[EventKey, SignalIds]
"""The signals that a page produces. A late event can turn an event of an earlier page into a signal."""

SUCCESSES = frozenset(("SUCCESS", "ALLOW"))
"""Outcomes that grant access."""
FAILURES = frozenset(("FAILURE", "DENY"))
"""Outcomes that deny access."""


class MatchedEvent(Struct, frozen=True, kw_only=True):
    """The event of a match, as displayed in ``alert_events``. The names are columns of ``matches``."""

    event_type: str | None = None
    outcome: str | None = None
    """Okta's ``outcome.result``: ``SUCCESS``, ``FAILURE``, ``ALLOW``, ``DENY``, ``CHALLENGE`` and others."""
    outcome_reason: str | None = None
    client_ip: str | None = None
    user_agent: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether access was granted: the outcome is SUCCESS or ALLOW."""
        return self.outcome in SUCCESSES

    @property
    def failed(self) -> bool:
        """Whether access was denied: the outcome is FAILURE or DENY."""
        return self.outcome in FAILURES


def _unclassified() -> None:
    """Return None: nothing is known about the address."""


class MatchOrigin(Struct, frozen=True, kw_only=True):
    """The origin of a match's event: the values that allow entries test."""

    actor_alternate_id: str | None = None
    client_ip: str | None = None
    as_number: int | None = None
    zone: str | None = None
    """The name of the network zone."""
    anonymizer: Callable[[], Anonymizer | None] = _unclassified
    """Classifies the address. Called only if an allow entry depends on it."""


class AllowedMatch(Struct, frozen=True, kw_only=True):
    """A match that an allow entry kept from becoming part of an alert. The names are columns of ``allowed_matches``."""

    rule_id: str
    event_uuid: str
    published: datetime
    entry: str
    """The entry's id."""
    reason: str
    actor_alternate_id: str | None = None
    client_ip: str | None = None


class Match(Struct, frozen=True, kw_only=True):
    """An event of an org that a rule matched."""

    rule_id: str
    event_uuid: str
    published: datetime
    dedup_key: str
    """A JSON array of strings."""
    severity: Severity
    event: MatchedEvent = MatchedEvent()
    details: Callable[[], AlertDetails]
    """Builds the alert's details. Called if the match opens the alert or is its first success, which changes the title."""
    origin: Callable[[], MatchOrigin] = MatchOrigin
    """Builds the origin. Called for a new match if there are allow entries."""

    @property
    def key(self) -> MatchKey:
        """The identity of the match."""
        return MatchKey(self.rule_id, self.event_uuid)
