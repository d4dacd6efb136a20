"""What Okta's rate limit headers say, and how long to wait when it says 429.

Okta: the window is a minute long, ends at ``X-Rate-Limit-Reset`` (epoch seconds) and is shared by every
tool of the org. The wait is reckoned by the server's own clock, because ours may be wrong; each header
may be absent. https://developer.okta.com/docs/reference/rl-best-practices/
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from oktawatch.systemlog.page import parse_date

WINDOW = 60
"""Seconds."""
SHORTEST = 1
LONGEST = 65
"""Seconds: a window, and a little for clocks that disagree."""
BLIND = (5, 10, 20, 40)
"""Seconds to wait, time after time, when the answer doesn't say: together more than a window."""

_LONGEST_NUMBER = 12  # digits


class Limits(NamedTuple):
    """What an answer says of the org's rate limit; None for what it doesn't say."""

    limit: int | None = None
    """Requests a window, of all tools of the org together."""
    remaining: int | None = None
    """Requests that are left of this window."""
    reset: int | None = None
    """When the window ends, in the server's epoch seconds."""
    seconds: int | None = None
    """Until the window is over, by the server's clock; a second more, since its ``Date`` has no fractions."""

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self:
        """Read an answer's headers. One that makes no sense counts as absent."""
        limit = _number(headers, "X-Rate-Limit-Limit")
        if limit == 0:
            # Okta: too many requests at once; its numbers tell nothing of the window.
            return cls()
        remaining = _number(headers, "X-Rate-Limit-Remaining")
        reset = _number(headers, "X-Rate-Limit-Reset")
        date = parse_date(headers.get("Date"))
        if reset is None or date is None:
            return cls(limit, remaining)
        seconds = min(max(reset - int(date.timestamp()) + 1, SHORTEST), LONGEST)
        return cls(limit, remaining, reset, seconds)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def pause_after(limits: Limits, attempt: int) -> int:
    """Give the seconds to wait after the ``attempt``-th 429 in a row (0 is the first)."""
    if limits.seconds is not None:
        return limits.seconds
    return BLIND[min(attempt, len(BLIND) - 1)]
