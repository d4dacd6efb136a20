"""Okta's rate limit: so many requests in a window of 60 seconds, told in headers on every answer.

The bucket belongs to the org, and whoever asks takes from it: `others` is what the org's other tools take of
each window, evenly over its time. Okta logs it as a violation when nothing is left, and mails the admins. So a
budget remembers whether it was the watched client that took the last.
"""

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
    others: int = 0
    """Requests a window that somebody else makes."""

    violations: int = 0
    """Windows in which a request of the client took what was left."""
    refused: int = 0
    """Requests of the client over the limit, whoever had taken the rest."""
    most: int = 0
    """The most requests of the client in one window."""

    _ours: int = 0
    _spent: int = 0
    _reset: int = 0
    _theirs: int = 0

    def take(self, now: float) -> bool:
        """Count one request of the client at `now` (epoch seconds); return whether it is within the limit."""
        self._turn(now)
        left = self._left()
        self._ours += 1
        self.most = max(self.most, self._ours)
        if self.limit is None or left > 1:
            return True
        self.violations += left == 1
        self.refused += left < 1
        return left == 1

    def spend(self, count: int, now: float) -> None:
        """Let somebody else take so many requests of the window at once."""
        self._turn(now)
        self._spent += count

    def headers(self) -> dict[str, str]:
        """Return the three headers; Reset is in epoch seconds."""
        limit = UNENFORCED if self.limit is None else self.limit
        return {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(max(0, self._left())),
            "X-Rate-Limit-Reset": str(self._reset),
        }

    def _turn(self, now: float) -> None:
        """Bring the window to a time; a clock that was turned back opens a new one."""
        if now >= self._reset or self._reset > now + WINDOW + 1:
            self._reset = math.ceil(now) + WINDOW
            self._ours = self._spent = 0
        elapsed = min(WINDOW, max(0.0, now - (self._reset - WINDOW)))
        self._theirs = math.floor(self.others * elapsed / WINDOW)

    def _left(self) -> int:
        limit = UNENFORCED if self.limit is None else self.limit
        return limit - self._ours - self._spent - self._theirs
