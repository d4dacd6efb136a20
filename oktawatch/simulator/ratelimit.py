"""Okta's rate limit: a number of requests in a window of 60 seconds, reported in headers on every answer.

All clients of an org share its limit. `others` simulates the org's other clients, which use part of each window at
an even rate. When a window is exhausted, Okta logs a violation and mails the admins. The budget therefore counts how
often the client under test exhausted a window.
"""

import math
from dataclasses import dataclass

WINDOW = 60
UNENFORCED = 100_000


@dataclass
class Budget:
    """The remaining requests of the current window.

    A window starts with the first request after the previous window ended, so it isn't aligned to the minute. The
    request that reduces the remaining count to 0 is served. Later requests are refused until the window ends.
    """

    limit: int | None = None
    """Requests per window. None advertises a limit that no client reaches, and refuses nothing."""
    others: int = 0
    """Requests per window by other clients."""

    violations: int = 0
    """Windows that the client under test exhausted."""
    refused: int = 0
    """Requests of the client under test that were refused, whichever client exhausted the window."""
    peak: int = 0
    """The highest number of requests by the client under test in a window."""

    _ours: int = 0
    _spent: int = 0
    _reset: int = 0
    _others_so_far: int = 0

    def take(self, now: float) -> bool:
        """Count a request of the client at `now` (epoch seconds), and return whether it is within the limit."""
        self._advance(now)
        left = self._left()
        self._ours += 1
        self.peak = max(self.peak, self._ours)
        if self.limit is None or left > 1:
            return True
        self.violations += left == 1
        self.refused += left < 1
        return left == 1

    def spend(self, count: int, now: float) -> None:
        """Count `count` requests of another client at `now` (epoch seconds)."""
        self._advance(now)
        self._spent += count

    def headers(self) -> dict[str, str]:
        """Return the three rate limit headers. Reset is in epoch seconds."""
        limit = UNENFORCED if self.limit is None else self.limit
        return {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(max(0, self._left())),
            "X-Rate-Limit-Reset": str(self._reset),
        }

    def _advance(self, now: float) -> None:
        """Start a new window if the current one has ended, or if the clock was set back."""
        if now >= self._reset or self._reset > now + WINDOW + 1:
            self._reset = math.ceil(now) + WINDOW
            self._ours = self._spent = 0
        elapsed = min(WINDOW, max(0.0, now - (self._reset - WINDOW)))
        self._others_so_far = math.floor(self.others * elapsed / WINDOW)

    def _left(self) -> int:
        limit = UNENFORCED if self.limit is None else self.limit
        return limit - self._ours - self._spent - self._others_so_far
