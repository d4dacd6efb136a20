"""Signals: what is recorded and told to nobody, for other rules to lean on.

A rule in a window that asks for a signal gets no look into a table. It gets the signal's own predicate,
to hold against the events of its window: so there is no order in which the two must come, late events,
other pages and restarts make no difference, and asking costs no question. For that a signal decides by
what history remembers of an event, and by that event alone.

The view ``signals`` is for people who ask with SQL.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from oktawatch.detection.event_types import type_test
from oktawatch.detection.rule import EventRule, OnError
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow


class Seen(Protocol):
    """What an event and its row in history say in the same words."""

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
    def external_session_id(self) -> str | None:
        """The session."""

    @property
    def dt_hash(self) -> str | None:
        """The hash of the device token."""

    @property
    def outcome_result(self) -> str | None:
        """How it ended."""

    @property
    def outcome_reason(self) -> str | None:
        """Why."""

    @property
    def is_proxy(self) -> bool | None:
        """Whether Okta calls the address a proxy."""


@dataclass(frozen=True, kw_only=True)
class SignalRule(EventRule):
    """An event that is recorded, told to nobody, and can be asked for by rules in a window."""

    signal: ClassVar[bool] = True

    @abstractmethod
    def matches(self, event: Seen) -> bool:
        """Tell whether an event of one of ``event_types`` is the signal."""

    def marks(
        self, events: Sequence[Event], on_error: OnError, *, rows: Sequence[HistoryRow] = ()
    ) -> Iterable[bool]:
        """Tell of each event of a page whether it is the signal, by what is remembered if that is every one."""
        if len(rows) == len(events):
            return self._marks_of(rows, self.decided_by(), on_error)
        return super().marks(events, on_error)

    def test(self) -> Callable[[HistoryRow], bool]:
        """Give the test for a remembered event."""
        wanted, matches = type_test(self.needed_types()), self.matches
        return lambda row: wanted(row.event_type) and matches(row)


Signals = Mapping[str, SignalRule]
"""By their ids."""
