"""Signal rules, whose matches (signals) are recorded and open no alerts.

A windowed rule that uses a signal rule does not look up recorded signals. It calls the signal rule's predicate on the
events of its window, so late events, page boundaries and restarts make no difference. These events can be history rows,
so a signal rule can use only the columns of history.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from oktawatch.detection.event_types import type_test
from oktawatch.detection.rule import EventRule
from oktawatch.model.history import HistoryRow


class Seen(Protocol):
    """The attributes that `Event` and `HistoryRow` share."""

    @property
    def uuid(self) -> str:
        """Okta's id of the event."""

    @property
    def published(self) -> str:
        """The time of the event, as canonical text."""

    @property
    def event_type(self) -> str:
        """Okta's event type."""

    @property
    def actor_id(self) -> str | None:
        """Okta's id of the actor."""

    @property
    def actor_alternate_id(self) -> str | None:
        """The login, as typed by the user."""

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
        """The type of device."""

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
        """The operators of the anonymizers behind the address, as a JSON array."""

    @property
    def external_session_id(self) -> str | None:
        """The id of the session."""

    @property
    def root_session_id(self) -> str | None:
        """The id of the session from which this session was derived, or else of the session itself."""

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token."""

    @property
    def factor(self) -> str | None:
        """The factor or credential used."""

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
        """The name of the first app among the targets, or else its id."""

    @property
    def outcome_result(self) -> str | None:
        """The result, such as SUCCESS."""

    @property
    def outcome_reason(self) -> str | None:
        """The reason for the result."""

    @property
    def risk(self) -> str | None:
        """The risk level in upper case."""

    @property
    def behaviours(self) -> str | None:
        """The observed behaviours, as a JSON array."""

    @property
    def as_number(self) -> int | None:
        """The autonomous system number."""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta classifies the address as a proxy."""

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
    """A rule whose matches are recorded as signals and open no alerts. Windowed rules can use it."""

    signal: ClassVar[bool] = True

    @abstractmethod
    def matches(self, event: Seen) -> bool:
        """Return whether an event of one of ``event_types`` matches."""

    def test(self) -> Callable[[HistoryRow], bool]:
        """Return a function that tests whether a history row matches."""
        is_needed, matches = type_test(self.needed_types()), self.matches
        return lambda row: is_needed(row.event_type) and matches(row)


SignalRules = Mapping[str, SignalRule]
"""Signal rules by id."""
