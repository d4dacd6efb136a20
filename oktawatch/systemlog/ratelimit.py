"""Parse Okta's rate limit headers, and compute the pause after a 429.

A window lasts a minute, ends at ``X-Rate-Limit-Reset`` (epoch seconds), and is shared by all clients of the org. The pause
is computed with the server's clock, because the local clock can be wrong. Each header can be absent.

Okta: https://developer.okta.com/docs/reference/rl-best-practices/
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from oktawatch.systemlog.page import parse_date

WINDOW = 60
"""The length of a window in seconds."""
SHORTEST = 1
LONGEST = 65
"""The longest pause in seconds: a window, and a margin for clock skew."""
DEFAULT_PAUSES = (5, 10, 20, 40)
"""Pauses in seconds after consecutive 429 answers without headers. Their sum exceeds a window."""

_LONGEST_NUMBER = 12  # digits


class Limits(NamedTuple):
    """The rate limit in an answer. None for absent values."""

    limit: int | None = None
    """Requests per window, for all clients of the org."""
    remaining: int | None = None
    """Remaining requests of this window."""
    reset: int | None = None
    """The end of the window in epoch seconds by the server's clock."""
    seconds: int | None = None
    """Seconds until the end of the window, rounded up because ``Date`` has no fractions."""

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self:
        """Parse the headers of an answer. Invalid headers are treated as absent."""
        limit = _number(headers, "X-Rate-Limit-Limit")
        if limit == 0:
            # Okta's concurrency limit: the numbers don't describe the window.
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
    """Return the pause in seconds after the ``attempt``-th consecutive 429, counted from 0."""
    if limits.seconds is not None:
        return limits.seconds
    return DEFAULT_PAUSES[min(attempt, len(DEFAULT_PAUSES) - 1)]
