"""Signals: matches that are recorded but alert nobody, for other rules to use.

A windowed rule that uses a signal does not query a table. It calls the signal's own predicate on the
events of its window. Order, late events, page boundaries and restarts then make no difference, and there
is nothing to query. In return a signal decides by one event alone, and by the columns of history.

The view ``signals`` is for people who query with SQL.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from oktawatch.detection.event_types import type_test
from oktawatch.detection.rule import EventRule
from oktawatch.model.history import HistoryRow


class Seen(Protocol):
    """The accessors that an event and its history row share."""

    @property
    def uuid(self) -> str:
        """Okta's id of the event."""

    @property
    def published(self) -> str:
        """Canonical text."""

    @property
    def event_type(self) -> str:
        """Okta's event type."""

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor."""

    @property
    def actor_alternate_id(self) -> str | None:
        """The user name as typed."""

    @property
    def actor_display_name(self) -> str | None:
        """The actor's name."""

    @property
    def client_ip(self) -> str | None:
        """The client's address."""

    @property
    def user_agent(self) -> str | None:
        """The raw User-Agent header."""

    @property
    def client_device(self) -> str | None:
        """The kind of device."""

    @property
    def client_zone(self) -> str | None:
        """The network zone of the address."""

    @property
    def country(self) -> str | None:
        """The country of the address."""

    @property
    def city(self) -> str | None:
        """The city of the address."""

    @property
    def operators(self) -> str | None:
        """The operators of the anonymizers behind the address, a JSON array."""

    @property
    def external_session_id(self) -> str | None:
        """The session."""

    @property
    def root_session_id(self) -> str | None:
        """The session that this one came from, or else the session."""

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token."""

    @property
    def factor(self) -> str | None:
        """The factor or credential."""

    @property
    def device_id(self) -> str | None:
        """The id of the registered device."""

    @property
    def api_token_id(self) -> str | None:
        """The id of the API token."""

    @property
    def target_id(self) -> str | None:
        """The id of the first target."""

    @property
    def target_type(self) -> str | None:
        """The type of the first target."""

    @property
    def app(self) -> str | None:
        """The name of the first app among the targets."""

    @property
    def outcome_result(self) -> str | None:
        """How it ended."""

    @property
    def outcome_reason(self) -> str | None:
        """The reason."""

    @property
    def risk(self) -> str | None:
        """The risk level in capitals."""

    @property
    def behaviours(self) -> str | None:
        """The observed behaviours, a JSON array."""

    @property
    def as_number(self) -> int | None:
        """The autonomous system's number."""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta calls the address a proxy."""

    @property
    def anonymous_tunnel(self) -> bool | None:
        """True if Okta names an anonymous tunnel."""

    @property
    def anonymous_service(self) -> bool | None:
        """True if Okta names an anonymous service that owns the address."""

    @property
    def associated_proxy(self) -> bool | None:
        """True if Okta associates proxies with the address."""


@dataclass(frozen=True, kw_only=True)
class SignalRule(EventRule):
    """An event that is recorded, alerts nobody, and can be used by windowed rules."""

    signal: ClassVar[bool] = True

    @abstractmethod
    def matches(self, event: Seen) -> bool:
        """Return whether an event of one of ``event_types`` is the signal."""

    def test(self) -> Callable[[HistoryRow], bool]:
        """Return the test for a history row."""
        wanted, matches = type_test(self.needed_types()), self.matches
        return lambda row: wanted(row.event_type) and matches(row)


SignalRules = Mapping[str, SignalRule]
"""Signal rules by their ids."""
