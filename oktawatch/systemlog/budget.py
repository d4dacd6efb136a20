"""An org's rate limit, and our part of it: who may ask now, and who has to wait.

Okta counts the requests of all of an org's tools together, in windows of a minute, and mails the org's
admins when nothing is left. So whoever asks takes a turn here first: one request is in flight at a time,
live polling goes before a sweep and a sweep before a backfill, and a turn comes only while

- we have made fewer requests in this window than our share of the limit (a little of it is kept for
  polling alone, so that a backfill never makes it wait for the next window), and
- more than one request is left. The last answer that said how many may be half a minute old, so what
  other tools take meanwhile is reckoned in: their share, or more when they were seen to take more; all
  of the limit before anything was seen of them.

The numbers come with Okta's answers, and each of them may be absent: what isn't known holds nobody up,
and a 429 without numbers is waited out ever longer. When a window ends is reckoned from the answer's own
``Date`` and from then on by a clock that nobody sets; this machine's time of day plays no part.

One budget serves everything in a process that reads the org. What another process takes (a backfill
beside the daemon) is seen as another tool's.
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
from oktawatch.systemlog.ratelimit import LONGEST, WINDOW, Limits, pause_after

SHARE = 0.5
"""Of the limit. Okta warns the admins at 60 % by default."""
_KEPT_FOR_POLLING = 10
"""One in so many of our requests."""
_LAST = 1
"""Requests that are never taken."""
_TICK = 0.001
"""Seconds: what is left of a wait by a rounding error is waited out at once, and not in ever smaller steps."""
_SAME_WINDOW = 5  # seconds by which two answers may disagree about its end; windows are a minute apart
_TELLING = 10  # seconds into a window, before which what others took says little about the rest of it


class RateBudget:
    """Gives turns to ask one org.

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
    ) -> None:
        """``share`` is the part of the limit that is ours. ``clock`` and ``jitter`` give seconds."""
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._waiting: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._in_flight = False
        self._refusals = 0
        self._held_until = -math.inf
        self._remaining: int | None = None
        self._window = _Window(share)

    @property
    def remaining(self) -> int | None:
        """Requests that were left of the org's window, as the last answer that told of it said; None before."""
        return self._remaining

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[None]:
        """Wait until a request may be sent. Cancelled, it ends at once."""
        await self._wait(priority)
        self._in_flight = True
        self._window.take(self._clock())
        try:
            yield
        finally:
            self._in_flight = False
            self._call_next()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer, whatever its status."""
        now = self._clock()
        limits = Limits.read(headers)
        self._window.learn(limits, now)
        if limits.remaining is not None:
            self._remaining = limits.remaining
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._held_until = now + pause_after(limits, self._refusals)
            self._refusals += 1
        else:
            self._refusals = 0

    async def wait_out(self, headers: Mapping[str, str], attempt: int) -> None:
        """Wait out the ``attempt``-th 429 in a row (0 is the first) of an endpoint with a limit of its own."""
        await self._sleep(pause_after(Limits.read(headers), attempt) + self._jitter())

    async def _wait(self, priority: Priority) -> None:
        waiter = _Waiter(priority, next(self._arrivals))
        bisect.insort(self._waiting, waiter)
        try:
            while True:
                if self._in_flight or self._waiting[0] is not waiter:
                    waiter.called.clear()
                    await waiter.called.wait()
                elif pause := self._pause(priority):
                    # Whoever comes meanwhile and may go first does.
                    await self._sleep(max(pause, _TICK) + self._jitter())
                else:
                    return
        finally:
            self._waiting.remove(waiter)
            self._call_next()

    def _call_next(self) -> None:
        if self._waiting and not self._in_flight:
            self._waiting[0].called.set()

    def _pause(self, priority: Priority) -> float:
        """Give the seconds until such a request may be sent: 0 for now."""
        now = self._clock()
        if now < self._held_until:
            return self._held_until - now
        window = self._window
        if now >= window.ends or (window.taken < self._allowed(priority) and window.left(now) > _LAST):
            return 0
        return window.ends - now

    def _allowed(self, priority: Priority) -> float:
        if self._window.limit is None:
            return math.inf
        ours = max(1, math.floor(self._share * self._window.limit))
        if priority is Priority.POLL or ours == 1:
            return ours
        return ours - math.ceil(ours / _KEPT_FOR_POLLING)


class _Waiter:
    """Somebody in the queue."""

    def __init__(self, priority: Priority, arrival: int) -> None:
        self._place = (priority, arrival)
        self.called = asyncio.Event()

    def __lt__(self, other: "_Waiter") -> bool:
        return self._place < other._place


class _Window:
    """The org's current window, as far as we know it. Times are the budget's clock's."""

    def __init__(self, share: float) -> None:
        self.limit: int | None = None
        self.remaining: int | None = None
        self.taken = 0
        """Our requests that it may hold, answered or not."""
        self.ends = -math.inf
        """When it is surely over."""
        self._untold = 0
        """Our requests since an answer last told of a window: they may belong to the next one."""
        self._reset: int | None = None
        self._taken_at = self._told_at = -math.inf
        self._others = _Others(share)

    def take(self, now: float) -> None:
        """Count a request of ours, which opens another window when this one is over."""
        if now >= self.ends:
            self._begin(now + LONGEST)
        self._taken_at = now
        self.taken += 1
        self._untold += 1
        if self.remaining is not None:
            self.remaining -= 1

    def learn(self, limits: Limits, now: float) -> None:
        """Take in what an answer says."""
        if limits.reset is not None and limits.seconds is not None:
            if self._reset is not None and abs(limits.reset - self._reset) > _SAME_WINDOW:
                # It began while our request was under way.
                self._begin(now)
            self._untold = 0
            self._reset = limits.reset
            self.ends = now + limits.seconds
        if limits.limit is not None:
            self.limit = limits.limit
        if limits.remaining is not None:
            self.remaining = limits.remaining
            self._told_at = self._taken_at  # as good as the server's time of telling, and not after it
            if self.limit is not None and limits.seconds is not None:
                taken = self.limit - self.remaining - self.taken
                self._others.took(taken, WINDOW - limits.seconds)

    def left(self, now: float) -> float:
        """Give how many requests are left by now, others' reckoned in; infinity when nothing is known."""
        if self.remaining is None:
            return math.inf
        return self.remaining - math.ceil(self._others.rate(self.limit) * (now - self._told_at))

    def _begin(self, ends: float) -> None:
        self.ends = ends
        self.taken, self._untold = self._untold, 0
        self.remaining = self._reset = None
        self._others.begin()


class _Others:
    """What the org's other tools take of its limit: what is theirs, or more when more was seen.

    Before anything was seen they may take all of it.
    """

    def __init__(self, share: float) -> None:
        self._theirs = 1 - share
        self._before: float | None = None
        self._now: float | None = None

    def took(self, count: int, elapsed: int) -> None:
        """See how much they have taken in so many seconds of the current window."""
        if elapsed >= _TELLING:
            # One more than were seen, as the next may be about to come.
            self._now = (count + 1) / elapsed if count > 0 else 0.0

    def begin(self) -> None:
        """Begin another window: what was seen in the last one that told anything still counts."""
        if self._now is not None:
            self._before, self._now = self._now, None

    def rate(self, limit: int | None) -> float:
        """Give the requests a second to reckon with."""
        seen = [rate for rate in (self._before, self._now) if rate is not None]
        theirs = self._theirs if seen else 1.0
        return max(theirs * (limit or 0) / WINDOW, *seen, 0.0)
