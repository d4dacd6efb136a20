"""Okta's rate limit: so many requests in a window of 60 seconds, told in headers on every answer."""

import math
from dataclasses import dataclass

WINDOW = 60
UNENFORCED = 100_000


@dataclass
class Budget:
    """What is left of the current window.

    A window begins with the first request after the last one ended, so it is not aligned to the minute. The
    request that takes what remains to 0 is still served; the next is refused until the window's end.
    """

    limit: int | None = None
    """Requests a window; None advertises a limit that no client reaches, and refuses nothing."""

    _used: int = 0
    _reset: int = 0

    def take(self, now: float) -> bool:
        """Count one request at `now` (epoch seconds); return whether it is within the limit."""
        if now >= self._reset or self._reset > now + WINDOW + 1:  # a clock that was turned back starts anew
            self._reset = math.ceil(now) + WINDOW
            self._used = 0
        self._used += 1
        return self.limit is None or self._used <= self.limit

    def headers(self) -> dict[str, str]:
        """Return the three headers; Reset is in epoch seconds."""
        limit = UNENFORCED if self.limit is None else self.limit
        return {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(max(0, limit - self._used)),
            "X-Rate-Limit-Reset": str(self._reset),
        }
