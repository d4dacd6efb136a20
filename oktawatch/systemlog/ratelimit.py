"""How long to wait when Okta says 429.

Okta: the window is a minute long, ends at ``X-Rate-Limit-Reset`` (epoch seconds) and is shared by every
tool of the org. The wait is reckoned by the server's own clock, because ours may be wrong; each header
may be absent. https://developer.okta.com/docs/reference/rl-best-practices/
"""

from collections.abc import Mapping

from oktawatch.systemlog.page import parse_date

SHORTEST = 1
LONGEST = 65
"""Seconds: a window, and a little for clocks that disagree."""
BLIND = (5, 10, 20, 40)
"""Seconds to wait, time after time, when the answer doesn't say: together more than a window."""

_LONGEST_EPOCH = 12  # digits


def pause_after(headers: Mapping[str, str], attempt: int) -> float:
    """Give the seconds to wait after the ``attempt``-th 429 in a row (0 is the first)."""
    reset = headers.get("X-Rate-Limit-Reset", "").strip()
    date = parse_date(headers.get("Date"))
    if date is None or not (reset.isascii() and reset.isdigit() and len(reset) <= _LONGEST_EPOCH):
        return BLIND[min(attempt, len(BLIND) - 1)]
    return min(max(int(reset) - int(date.timestamp()) + 1, SHORTEST), LONGEST)
