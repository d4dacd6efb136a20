"""A simulated Okta org: a clock, credentials, a rate limit, and the System Log as requests see it.

An org can grow while it is served: by hand (`persist`, `extend`), or by a stream that it follows, from which it
takes each event when its own clock reaches the event's persistence time. What is persisted in the future of the
clock is there, but no request sees it yet. What is late appears behind every poll.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import scim, times
from .auth import new_token
from .cursors import Cursors
from .faults.script import Script
from .late import Late
from .oauth import AuthorizationServer
from .query import Query
from .ratelimit import Budget
from .record import Drawn, Order, Place, Record

RETENTION = 90 * times.DAY

Event = dict[str, Any] | bytes | Drawn | Late
"""A JSON object; or its bytes, served as they are; or one that is made when it is asked for; or a late one."""


@dataclass(frozen=True)
class Request:
    """A request that the org was sent, and the status it answered with: None when nothing was answered."""

    method: str
    path_qs: str
    status: int | None
    fault: str | None = None
    """The name of the fault that it got."""


@dataclass(frozen=True)
class Page:
    """The events of one answer, as they are sent, and the question that goes on after them."""

    bodies: list[bytes]
    next: Query | None


class SimulatedOrg:
    """An Okta org for tests and demonstrations. May be used from several threads.

    `now` is its clock; `token` the API token it accepts (default: a new one); `rate_limit` how many requests it
    serves in 60 seconds (default: any number), of which `others` are taken by somebody else. What is to go wrong
    is told to `faults`, and to `cursors` which of them are forgotten. `oauth` lets service apps in.
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
        self.token = new_token() if token is None else token
        self.budget = Budget(rate_limit, others)
        self.token_budget = Budget()
        """The token endpoint's own: Okta counts it apart."""
        self.may_read = True
        """The owner of the API token has a role that may read the System Log."""
        self.oauth = AuthorizationServer(lambda: now().timestamp())
        self.faults = Script(now)
        self.cursors = Cursors()
        self.requests: list[Request] = []
        self._record = Record()
        self._streams: list[_Stream] = []
        self._polled: int | None = None
        """The persistence time that polls have reached, in milliseconds."""
        self._lock = threading.RLock()

    def persist(self, event: Event, *, persisted_at: datetime | None = None) -> None:
        """Take one event in, persisted now or at a given time.

        A time before one that a poll has already passed makes an event that this poll never returns. A `Late`
        one gets such a time of itself.
        """
        with self._lock:
            self._add(self.now() if persisted_at is None else persisted_at, event)

    def extend(self, events: Iterable[tuple[datetime, Event]]) -> None:
        """Take in pairs of a persistence time and an event. A `Late` one appears now (`follow`: at its time)."""
        with self._lock:
            for persisted_at, event in events:
                self._add(persisted_at, event)

    def follow(self, stream: Iterable[tuple[datetime, Event]]) -> None:
        """Take in each event of an endless stream, ordered by persistence time, when its time has come."""
        with self._lock:
            self._streams.append(_Stream(iter(stream)))

    @property
    def violations(self) -> int:
        """In how many windows of the rate limit the client took what was left: Okta would have mailed the admins."""
        return self.budget.violations

    @property
    def events(self) -> list[Any]:
        """All events that are visible now, read from JSON, in the order in which they were persisted."""
        with self._lock:
            order = self._record.by_persistence
            return [self._record.event(order.number(at)) for at in range(self._visible(self._clock()))]

    def __len__(self) -> int:
        """Return how many events are visible now."""
        with self._lock:
            return self._visible(self._clock())

    def page(self, query: Query) -> Page:
        """Answer a question about the System Log."""
        with self._lock:
            now = self._clock()
            return self._poll(query, now) if query.until is None else self._bounded(query, query.until, now)

    def _poll(self, query: Query, now: int) -> Page:
        """Return the next events by persistence time; there is always a next question, perhaps the same."""
        order = self._record.by_persistence
        since = max(query.since, now - RETENTION)
        start = order.index_from(since)
        if query.place is not None:
            start = max(start, order.index_at(_behind(query.place)))
        found = self._select(query, order, range(start, self._visible(now)), query.limit)
        reached = order.place(found[-1]) if found else query.place or (since, -1)
        self._polled = max(self._polled or 0, reached[0])
        return Page(self._bodies(order, found), query.at(reached))

    def _bounded(self, query: Query, until: int, now: int) -> Page:
        """Return the next events by `published`; the last of them have no next question."""
        order = self._record.by_published
        start, end = order.index_from(max(query.since, now - RETENTION)), order.index_from(until)
        if query.place is not None and query.descending:
            end = min(end, order.index_at(query.place))
        elif query.place is not None:
            start = max(start, order.index_at(_behind(query.place)))
        span = range(end - 1, start - 1, -1) if query.descending else range(start, end)
        seen = (at for at in span if self._record.persisted(order.number(at)) <= now)
        found = self._select(query, order, seen, query.limit + 1)
        following = query.at(order.place(found[query.limit - 1])) if len(found) > query.limit > 0 else None
        return Page(self._bodies(order, found[: query.limit]), following)

    def _add(self, moment: datetime, event: Event) -> None:
        persisted = times.to_ms(moment)
        if isinstance(event, Late):
            event = event.event
            if self._polled is not None:  # at this very time, polls that go on from there would still find it
                persisted = min(persisted, self._polled - 1)
        self._record.add(persisted, event)

    def _select(self, query: Query, order: Order, span: Iterable[int], count: int) -> list[int]:
        matches = self._record.selector(scim.parse(query.filter))
        return list(itertools.islice((at for at in span if matches(order.number(at))), count))

    def _bodies(self, order: Order, found: list[int]) -> list[bytes]:
        return [self._record.body(order.number(at)) for at in found]

    def _visible(self, now: int) -> int:
        """Return how many events, in persistence order, the clock has reached."""
        return self._record.by_persistence.index_from(now + 1)

    def _clock(self) -> int:
        """Return the time in milliseconds, with everything taken in that has happened until then."""
        now = self.now()
        for stream in self._streams:
            self.extend(stream.due(now))
        return times.to_ms(now)


class _Stream:
    """What is still to come of a stream of events."""

    def __init__(self, events: Iterator[tuple[datetime, Event]]) -> None:
        self._events = events
        self._next = next(events, None)

    def due(self, now: datetime) -> Iterator[tuple[datetime, Event]]:
        while self._next is not None and self._next[0] <= now:
            yield self._next
            self._next = next(self._events, None)


def _behind(place: Place) -> Place:
    time, number = place
    return time, number + 1
