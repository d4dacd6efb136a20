"""Detect polls that don't end, which only a restart can fix.

A failed round has ended, so failures of Okta, the network or the database don't matter here. A round that doesn't end
despite its deadline is stuck in this process. Then the systemd watchdog is no longer fed, and systemd restarts the
daemon.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

LONGEST_SILENCE = timedelta(minutes=10)
"""The next round of an org must end within this time, unless the delay before the round is long."""
LONGEST_ROUND = timedelta(minutes=9)
"""The longest duration of a round after its delay: the hard deadline of its poll, and time for the work around it."""


class Watchdog:
    """The deadlines of all orgs' next rounds, by the monotonic clock."""

    def __init__(self, orgs: Iterable[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start as if a round of each org had just ended."""
        self._clock = clock
        self._latest: dict[str, float] = {}
        for org in orgs:
            self.round_ended(org, next_in=timedelta())

    def round_ended(self, org: str, *, next_in: timedelta) -> None:
        """Record the end of a round, successful or not, and the delay until the next round."""
        silence = max(LONGEST_SILENCE, next_in + LONGEST_ROUND)
        self._latest[org] = self._clock() + silence.total_seconds()

    def stuck(self) -> list[str]:
        """Return the orgs whose rounds are overdue."""
        now = self._clock()
        return [org for org, latest in self._latest.items() if now > latest]
