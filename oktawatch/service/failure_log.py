"""Failures in a row: told once, and tried again ever more slowly.

An outage of an hour is one line when it begins, one when its reason changes and one when it ends; what
happens in between would only bury the rest of the log.
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
_SLOWER = 4  # times: what only a person can mend is not worth asking for often
_LONGEST_SLOW = timedelta(minutes=15)


class FailureLog:
    """Failures in a row of one thing.

    Logs ``{name}_failed`` when a streak begins or its reason changes, ``{name}_recovered`` when it ends, with
    how often it failed for each reason.
    """

    def __init__(self, name: str, **about: str) -> None:
        self._name = name
        self._about = about
        self.failures = 0
        """How many, up to now."""
        self._reason: str | None = None
        self._reasons: Counter[str] = Counter()

    def failed(self, reason: str, error: Exception) -> None:
        """Count a failure. ``reason`` is short and stable; the error's text is for people."""
        self.failures += 1
        self._reasons[reason] += 1
        if reason != self._reason:
            self._reason = reason
            unexpected = {"exc_info": error} if reason == UNEXPECTED else {"error": str(error)}
            _log.error(f"{self._name}_failed", **self._about, reason=reason, **unexpected)

    def ended(self) -> None:
        """End the streak, if there is one."""
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
"""The reason of what nobody foresaw: the line names the exception, and its traceback at level debug."""


def backoff(
    failures: int,
    interval: timedelta,
    *,
    slowly: bool = False,
    jitter: Callable[[], float] = random.random,
) -> timedelta:
    """Say how long to wait after so many failures in a row of what happens at an interval otherwise.

    Doubles from 30 s, or from the interval where that is shorter, up to 5 min; ``slowly``, for what a
    person has to mend, from four times that up to 15 min. Spread by a quarter both ways, so that what
    failed together doesn't come again together.
    """
    first, longest = min(interval, _FIRST), _LONGEST
    if slowly:
        first, longest = first * _SLOWER, _LONGEST_SLOW
    delay: timedelta = min(first * (1 << min(failures - 1, 16)), longest)
    return delay * (0.75 + jitter() / 2)
