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

_FIRST_DELAY = timedelta(seconds=30)
_LONGEST_DELAY = timedelta(minutes=5)
_SLOW_FACTOR = 4  # failures that only a person can fix are retried less often
_LONGEST_SLOW_DELAY = timedelta(minutes=15)


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

    The first delay is 30 s, or ``interval`` if that is shorter. The delay doubles with each failure, up to 5 min.
    ``slowly`` is for failures that a person must fix: the first delay is four times as long, and the longest 15 min.
    A jitter of ±25 % is added, so that jobs that failed together are not retried together.
    """
    first, longest = min(interval, _FIRST_DELAY), _LONGEST_DELAY
    if slowly:
        first, longest = first * _SLOW_FACTOR, _LONGEST_SLOW_DELAY
    delay: timedelta = min(first * (1 << min(failures - 1, 16)), longest)
    return delay * (0.75 + jitter() / 2)
