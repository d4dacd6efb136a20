"""Share an org's rate limit between oktawatch's requests and the org's other clients.

Okta counts the requests of all clients of an org in windows of a minute, refuses requests when a window is exhausted,
and mails the org's admins even before that. Therefore each request waits for a turn. One request is in flight at a
time. Of the waiting requests, polls go first, then sweeps, then backfills. A turn is granted if both conditions hold:

- In this window, oktawatch has sent fewer requests than its share of the limit. A tenth of the share is reserved for
  polling, so that sweeps and backfills don't delay polling until the next window.
- More than one request remains in the window: the number in the last answer, minus the estimated requests of other
  clients since then. Their estimated rate is their share of the limit, or the observed rate if that is higher. Until
  a rate is observed, other clients are assumed to use the whole limit.

The numbers come from the headers of Okta's answers. Any header can be absent. An unknown number doesn't delay requests.
If consecutive 429 answers have no numbers, the pause grows with each. The time until the end of a window is computed
from the answer's ``Date`` and measured with the monotonic clock. The machine's wall clock is not used.

All requests of a process to an org share a budget. Requests of another process, such as a backfill beside the daemon,
count as another client's.
"""

import asyncio
import bisect
import itertools
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from oktawatch.systemlog.priority import Priority
from oktawatch.systemlog.ratelimit import LONGEST_PAUSE_S, WINDOW_S, Limits, pause_after

SHARE = 0.5
"""The default share of the limit. Okta warns the admins at 60 % by default."""
_POLLING_RESERVE = 10
"""One in ten requests of oktawatch's share is reserved for polling."""
_LEFT_UNUSED = 1
"""The number of requests per window that oktawatch never uses."""
_MIN_PAUSE_S = 0.001
"""The shortest pause. Without it, rounding errors could cause many tiny pauses."""
_SAME_WINDOW_S = (
    5  # reported ends of the same window can differ by this; different windows are a minute apart
)
_MIN_OBSERVATION_S = 10  # the rate of other clients is not computed from a shorter part of a window


class RateBudget:
    """Grants turns for requests to an org.

    async with budget.turn(Priority.POLL):
        ...  # one request
        budget.answered(status, headers)
    """

    def __init__(
        self,
        share: float = SHARE,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_wait: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``share`` is oktawatch's share of the limit. ``clock`` and ``jitter`` return seconds.

        ``on_wait`` is called before each pause with its duration in seconds.
        """
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_wait = on_wait
        self._waiting: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._in_flight = False
        self._refusals = 0
        self._held_until = -math.inf
        self._remaining: int | None = None
        self._window = _Window(share)

    @property
    def remaining(self) -> int | None:
        """The number of remaining requests that Okta last reported. None before the first report."""
        return self._remaining

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[None]:
        """Wait until a request can be sent. Cancelling ends the wait immediately."""
        await self._wait(priority)
        self._in_flight = True
        self._window.count_request(self._clock())
        try:
            yield
        finally:
            self._in_flight = False
            self._call_next()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Update the budget from an answer. Call it for every answer, whatever its status."""
        now = self._clock()
        limits = Limits.read(headers)
        self._window.update(limits, now)
        if limits.remaining is not None:
            self._remaining = limits.remaining
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._held_until = now + pause_after(limits, self._refusals)
            self._refusals += 1
        else:
            self._refusals = 0

    async def wait_out(self, headers: Mapping[str, str], attempt: int) -> None:
        """Wait after a 429 answer of an endpoint with a separate limit. ``attempt`` is the number of 429 answers before it."""
        await self._wait_for(pause_after(Limits.read(headers), attempt))

    async def _wait(self, priority: Priority) -> None:
        waiter = _Waiter(priority, next(self._arrivals))
        bisect.insort(self._waiting, waiter)
        try:
            while True:
                if self._in_flight or self._waiting[0] is not waiter:
                    waiter.called.clear()
                    await waiter.called.wait()
                elif pause := self._pause(priority):
                    # A request with a higher priority can arrive during the pause, and then goes first.
                    await self._wait_for(max(pause, _MIN_PAUSE_S))
                else:
                    return
        finally:
            self._waiting.remove(waiter)
            self._call_next()

    async def _wait_for(self, pause_s: float) -> None:
        pause_s += self._jitter()
        self._on_wait(pause_s)
        await self._sleep(pause_s)

    def _call_next(self) -> None:
        if self._waiting and not self._in_flight:
            self._waiting[0].called.set()

    def _pause(self, priority: Priority) -> float:
        """Return the seconds until a request with this priority can be sent, or 0 if it can be sent now."""
        now = self._clock()
        if now < self._held_until:
            return self._held_until - now
        window = self._window
        if now >= window.ends or (window.taken < self._allowed(priority) and window.left(now) > _LEFT_UNUSED):
            return 0
        return window.ends - now

    def _allowed(self, priority: Priority) -> float:
        if self._window.limit is None:
            return math.inf
        allowed = max(1, math.floor(self._share * self._window.limit))
        if priority is Priority.POLL or allowed == 1:
            return allowed
        return allowed - math.ceil(allowed / _POLLING_RESERVE)


class _Waiter:
    """A request in the queue."""

    def __init__(self, priority: Priority, arrival: int) -> None:
        self._order = (priority, arrival)
        self.called = asyncio.Event()

    def __lt__(self, other: "_Waiter") -> bool:
        return self._order < other._order


class _Window:
    """The known state of the org's current window. Times are in seconds of the budget's clock."""

    def __init__(self, share: float) -> None:
        self.limit: int | None = None
        self.remaining: int | None = None
        """The number of remaining requests that Okta last reported, minus oktawatch's requests since then."""
        self.taken = 0
        """The number of oktawatch's requests in the window, answered or not."""
        self.ends = -math.inf
        """The latest time at which the window can end."""
        self._unconfirmed = 0
        """The number of requests since an answer last reported the window's end. They may be in the next window."""
        self._reset: int | None = None
        self._last_request_at = self._remaining_at = -math.inf
        self._others = _OtherClients(share)

    def count_request(self, now: float) -> None:
        """Count a request. If the window has ended, start a new one first."""
        if now >= self.ends:
            self._begin(now + LONGEST_PAUSE_S)
        self._last_request_at = now
        self.taken += 1
        self._unconfirmed += 1
        if self.remaining is not None:
            self.remaining -= 1

    def update(self, limits: Limits, now: float) -> None:
        """Update the window from the limits of an answer."""
        if limits.reset is not None and limits.seconds_left is not None:
            if self._reset is not None and abs(limits.reset - self._reset) > _SAME_WINDOW_S:
                # A new window started while the request was in flight.
                self._begin(now)
            self._unconfirmed = 0
            self._reset = limits.reset
            self.ends = now + limits.seconds_left
        if limits.limit is not None:
            self.limit = limits.limit
        if limits.remaining is not None:
            self.remaining = limits.remaining
            self._remaining_at = self._last_request_at  # the server computed the number at this time or later
            if self.limit is not None and limits.seconds_left is not None:
                count = self.limit - self.remaining - self.taken
                self._others.observe(count, WINDOW_S - limits.seconds_left)

    def left(self, now: float) -> float:
        """Estimate how many requests remain now, after those of other clients. Return infinity if unknown."""
        if self.remaining is None:
            return math.inf
        return self.remaining - math.ceil(self._others.rate(self.limit) * (now - self._remaining_at))

    def _begin(self, ends: float) -> None:
        self.ends = ends
        self.taken, self._unconfirmed = self._unconfirmed, 0
        self.remaining = self._reset = None
        self._others.begin()


class _OtherClients:
    """Estimates the request rate of the org's other clients, as described in the module's docstring."""

    def __init__(self, oktawatch_share: float) -> None:
        self._share = 1 - oktawatch_share
        self._previous: float | None = None
        self._current: float | None = None

    def observe(self, count: int, elapsed: int) -> None:
        """Record the other clients' number of requests in the first ``elapsed`` seconds of the current window."""
        if elapsed >= _MIN_OBSERVATION_S:
            # Add one, to be careful: another client's next request may come right after this answer.
            self._current = (count + 1) / elapsed if count > 0 else 0.0

    def begin(self) -> None:
        """Start a new window. Keep the rate that was observed in the last one."""
        if self._current is not None:
            self._previous, self._current = self._current, None

    def rate(self, limit: int | None) -> float:
        """Return the estimated requests per second."""
        observed = [rate for rate in (self._previous, self._current) if rate is not None]
        share = self._share if observed else 1.0
        return max(share * (limit or 0) / WINDOW_S, *observed, 0.0)
