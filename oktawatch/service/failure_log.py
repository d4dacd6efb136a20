"""Log failures in a row once, and back off.

An outage is logged when it begins, when its reason changes, and when it ends. A line for each failure would bury the
rest of the log.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

_log: Any = structlog.get_logger(__name__)

_FIRST = timedelta(seconds=30)
_LONGEST = timedelta(minutes=5)
_SLOW_FACTOR = 4  # failures that only a person can fix are retried less often
_LONGEST_SLOW = timedelta(minutes=15)


class FailureLog:
    """Logs the failures in a row of one job.

    ``{name}_failed`` is logged with the first failure and whenever the reason changes. ``{name}_recovered`` is logged
    with the next success, and counts the failures by reason.
    """

    def __init__(self, name: str, **about: str) -> None:
        self.subject = " ".join([name, *about.values()])
        """What fails, such as ``poll acme``."""
        self._name = name
        self._about = about
        self.failures = 0
        """The number of failures in a row."""
        self._reason: str | None = None
        self._reasons: Counter[str] = Counter()

    def failed(self, reason: str, error: Exception) -> None:
        """Count a failure. ``reason`` is a short, stable identifier. The error's text is for people."""
        self.failures += 1
        self._reasons[reason] += 1
        if reason != self._reason:
            self._reason = reason
            details = {"exc_info": error} if reason == UNEXPECTED else {"error": str(error)}
            _log.error(f"{self._name}_failed", **self._about, reason=reason, **details)

    def ended(self) -> None:
        """Record a success."""
        if self.failures:
            _log.info(
                f"{self._name}_recovered",
                **self._about,
                failures=self.failures,
                reasons=dict(self._reasons.most_common()),
            )
        self.failures = 0
        self._reason = None
        self._reasons.clear()


UNEXPECTED = "unexpected"
"""The reason of unexpected exceptions, which are logged with their name, and with a traceback at level debug."""


def backoff(
    failures: int,
    interval: timedelta,
    *,
    slowly: bool = False,
    jitter: Callable[[], float] = random.random,
) -> timedelta:
    """Return the delay of a job's next round after this number of failures in a row. ``interval`` is the usual delay.

    The delay begins with 30 s, or the interval if that is shorter, and doubles up to 5 min. With ``slowly``, for a failure
    that a person must fix, the first delay is four times as long, and the longest is 15 min. All delays have a jitter of
    ±25 %, so that jobs that failed together are not retried together.
    """
    first, longest = min(interval, _FIRST), _LONGEST
    if slowly:
        first, longest = first * _SLOW_FACTOR, _LONGEST_SLOW
    delay: timedelta = min(first * (1 << min(failures - 1, 16)), longest)
    return delay * (0.75 + jitter() / 2)
