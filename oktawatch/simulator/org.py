"""A simulated Okta org: a clock, credentials, rate limits, and a System Log that requests can read.

Add events with `persist` and `extend`, or play a stream with `play`: the org takes an event from the stream
when its clock reaches the event's persistence time. No request returns an event before its persistence time.
"""

import itertools
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import scim, times
from .cursors import Cursors
from .late import Late
from .oauth import AuthorizationServer
from .query import Query
from .ratelimit import Budget
from .record import GeneratedEvent, Order, Place, Record

RETENTION = 90 * times.DAY

Event = dict[str, Any] | bytes | GeneratedEvent | Late
"""A JSON object; bytes that are served unchanged; an event generated when it is served; or a late event."""


@dataclass(frozen=True)
class Page:
    """The events of one answer, as sent, and the query for the events after them."""

    bodies: list[bytes]
    next: Query | None


class Org:
    """An Okta org without faults. Thread-safe.

    `now` is the org's clock. `token` is the accepted API token, random by default. `rate_limit` is the number of
    requests in 60 seconds, unlimited by default. `others` is how many of them other clients use. Register service apps
    with `oauth`, and expire cursors with `cursors`.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        token: str | None = None,
        rate_limit: int | None = None,
        others: int = 0,
    ) -> None:
        self.now = now
        self.token = _new_token() if token is None else token
        self.budget = Budget(rate_limit, others)
        self.token_budget = Budget()
        """The budget of the token endpoint, which Okta counts separately."""
        self.can_read_logs = True
        """Whether the owner of the API token has a role that can read the System Log."""
        self.oauth = AuthorizationServer(lambda: now().timestamp())
        self.cursors = Cursors()
        self._record = Record()
        self._streams: list[_Stream] = []
        self._polled: int | None = None
        """The persistence time that the most advanced poll has reached, in milliseconds. None before the first poll."""
        self._lock = threading.RLock()

    def persist(self, event: Event, *, persisted_at: datetime | None = None) -> None:
        """Add an event, persisted now or at `persisted_at`.

        A poll that has passed `persisted_at` never returns the event. If there was a poll, a `Late` event is persisted
        at a time that the most advanced poll has passed.
        """
        with self._lock:
            self._add(self.now() if persisted_at is None else persisted_at, event)

    def extend(self, events: Iterable[tuple[datetime, Event]]) -> None:
        """Add pairs of a persistence time and an event. After a poll, a `Late` event is visible at once, unlike with `play`."""
        with self._lock:
            for persisted_at, event in events:
                self._add(persisted_at, event)

    def play(self, stream: Iterable[tuple[datetime, Event]]) -> None:
        """Add each event of a stream, ordered by persistence time, when the clock reaches its time."""
        with self._lock:
            self._streams.append(_Stream(iter(stream)))

    @property
    def violations(self) -> int:
        """The number of rate limit windows that the client exhausted. For each, Okta would have mailed the admins."""
        return self.budget.violations

    @property
    def events(self) -> list[Any]:
        """All events visible now, parsed from JSON, in persistence order."""
        with self._lock:
            order = self._record.by_persistence
            return [self._record.event(order.number(at)) for at in range(self._visible(self._clock()))]

    def __len__(self) -> int:
        """Return the number of events visible now."""
        with self._lock:
            return self._visible(self._clock())

    def page(self, query: Query) -> Page:
        """Return the page of the System Log that answers a query."""
        with self._lock:
            now = self._clock()
            return self._poll(query, now) if query.until is None else self._bounded(query, query.until, now)

    def _poll(self, query: Query, now: int) -> Page:
        """Return the next events by persistence time. The next query is never None, but can equal `query`."""
        order = self._record.by_persistence
        since = max(query.since, now - RETENTION)
        start = order.index_from(since)
        if query.place is not None:
            start = max(start, order.index_at(_next_place(query.place)))
        selected = self._select(query, order, range(start, self._visible(now)), query.limit)
        reached = order.place(selected[-1]) if selected else query.place or (since, -1)
        self._polled = max(self._polled or 0, reached[0])
        return Page(self._bodies(order, selected), query.at(reached))

    def _bounded(self, query: Query, until: int, now: int) -> Page:
        """Return the next events by `published`. The last page has no next query."""
        order = self._record.by_published
        start, end = order.index_from(max(query.since, now - RETENTION)), order.index_from(until)
        if query.place is not None and query.descending:
            end = min(end, order.index_at(query.place))
        elif query.place is not None:
            start = max(start, order.index_at(_next_place(query.place)))
        span = range(end - 1, start - 1, -1) if query.descending else range(start, end)
        visible = (at for at in span if self._record.persisted(order.number(at)) <= now)
        selected = self._select(query, order, visible, query.limit + 1)
        following = (
            query.at(order.place(selected[query.limit - 1])) if len(selected) > query.limit > 0 else None
        )
        return Page(self._bodies(order, selected[: query.limit]), following)

    def _add(self, moment: datetime, event: Event) -> None:
        persisted = times.to_ms(moment)
        if isinstance(event, Late):
            event = event.event
            if self._polled is not None:
                # One millisecond earlier, because a poll can continue within the millisecond that it has reached.
                persisted = min(persisted, self._polled - 1)
        self._record.add(persisted, event)

    def _select(self, query: Query, order: Order, span: Iterable[int], count: int) -> list[int]:
        matches = self._record.selector(scim.parse(query.filter))
        return list(itertools.islice((at for at in span if matches(order.number(at))), count))

    def _bodies(self, order: Order, selected: list[int]) -> list[bytes]:
        return [self._record.body(order.number(at)) for at in selected]

    def _visible(self, now: int) -> int:
        """Return the number of events, in persistence order, that the clock has reached."""
        return self._record.by_persistence.index_from(now + 1)

    def _clock(self) -> int:
        """Return the time in milliseconds, after adding every streamed event that is due."""
        now = self.now()
        for stream in self._streams:
            self.extend(stream.due(now))
        return times.to_ms(now)


class _Stream:
    """The remaining events of a stream."""

    def __init__(self, events: Iterator[tuple[datetime, Event]]) -> None:
        self._events = events
        self._next = next(events, None)

    def due(self, now: datetime) -> Iterator[tuple[datetime, Event]]:
        while self._next is not None and self._next[0] <= now:
            yield self._next
            self._next = next(self._events, None)


def _new_token() -> str:
    """Return a random token in Okta's format: `00` and forty more characters."""
    return "00" + secrets.token_urlsafe(30)


def _next_place(place: Place) -> Place:
    time, number = place
    return time, number + 1
