"""Notice polls that don't end, which only a restart repairs.

A round that failed has ended: trouble with Okta, the network or the database is not looked at here. A round
that doesn't end, in spite of its deadline, is stuck in this process. Then systemd's watchdog is not fed any
more, and systemd restarts the daemon.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

LONGEST_SILENCE = timedelta(minutes=10)
"""A round must end within this time, unless the next one is due later."""
LONGEST_ROUND = timedelta(minutes=9)
"""The longest that a round can take: its own deadline, and what comes before and after it."""


class Watchdog:
    """The time by which each org's next round has to end, by the monotonic clock."""

    def __init__(self, orgs: Iterable[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count each org as if a round had ended just now."""
        self._clock = clock
        self._latest: dict[str, float] = {}
        for org in orgs:
            self.round_ended(org, next_in=timedelta())

    def round_ended(self, org: str, *, next_in: timedelta) -> None:
        """Note that a round ended, whether or not it succeeded, and the delay until the next one."""
        silence = max(LONGEST_SILENCE, next_in + LONGEST_ROUND)
        self._latest[org] = self._clock() + silence.total_seconds()

    def stuck(self) -> list[str]:
        """Return the orgs whose round should have ended by now."""
        now = self._clock()
        return [org for org, latest in self._latest.items() if now > latest]
