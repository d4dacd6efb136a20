"""Parse Okta's rate limit headers, and compute the pause after a 429.

A window lasts a minute, ends at ``X-Rate-Limit-Reset`` (epoch seconds), and is shared by all clients of the org. The pause
is computed with the server's clock, because the local clock can be wrong. Each header can be absent.

Okta: https://developer.okta.com/docs/reference/rl-best-practices/
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from oktawatch.systemlog.http_dates import parse_date

WINDOW_S = 60
"""The length of a window in seconds."""
SHORTEST_PAUSE_S = 1
LONGEST_PAUSE_S = 65
"""The longest pause in seconds: a window, and a margin for clock skew."""
DEFAULT_PAUSES_S = (5, 10, 20, 40)
"""Pauses in seconds after consecutive 429 answers, if the window's end is unknown. Their sum exceeds a window."""

_LONGEST_NUMBER = 12  # digits


class Limits(NamedTuple):
    """The rate limit in an answer. Absent values are None. If the concurrency limit was hit, all values are None."""

    limit: int | None = None
    """Requests per window, for all clients of the org."""
    remaining: int | None = None
    """Remaining requests of this window."""
    reset: int | None = None
    """The end of the window in epoch seconds by the server's clock."""
    seconds_left: int | None = None
    """Seconds until the end of the window, from 1 to 65. One is added, because ``Date`` has no fractions."""

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self:
        """Parse the headers of an answer. Invalid headers are treated as absent."""
        limit = _number(headers, "X-Rate-Limit-Limit")
        if limit == 0:
            # A limit of 0 means that the *concurrency* limit was hit. The other numbers then don't describe the window.
            return cls()
        remaining = _number(headers, "X-Rate-Limit-Remaining")
        reset = _number(headers, "X-Rate-Limit-Reset")
        date = parse_date(headers.get("Date"))
        if reset is None or date is None:
            return cls(limit, remaining)
        seconds_left = min(max(reset - int(date.timestamp()) + 1, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        return cls(limit, remaining, reset, seconds_left)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def pause_after(limits: Limits, attempt: int) -> int:
    """Return the pause in seconds after the ``attempt``-th consecutive 429, counted from 0."""
    if limits.seconds_left is not None:
        return limits.seconds_left
    return DEFAULT_PAUSES_S[min(attempt, len(DEFAULT_PAUSES_S) - 1)]
