"""Whether the daemon does its work, as far as a restart could mend it.

What Okta, the network or the database do is not asked: a round that ended badly has ended. What is
asked is whether rounds end at all. One that doesn't, in spite of its deadline, is stuck in this process,
and systemd's watchdog is the way out.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

LONGEST_SILENCE = timedelta(minutes=10)
"""Within this time a round must have ended, unless the next one is not even due until then."""
LONGEST_ROUND = timedelta(minutes=9)
"""What a round can take at most: its own deadline, and what comes before and after it."""


class Watchdog:
    """When each org's last round ended, by a clock that nobody sets."""

    def __init__(self, orgs: Iterable[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Each org counts as having had a round just now."""
        self._clock = clock
        self._latest: dict[str, float] = {}
        for org in orgs:
            self.round_ended(org, next_in=timedelta())

    def round_ended(self, org: str, *, next_in: timedelta) -> None:
        """Note that a round ended, well or badly, and in how long the next one begins."""
        silence = max(LONGEST_SILENCE, next_in + LONGEST_ROUND)
        self._latest[org] = self._clock() + silence.total_seconds()

    def stuck(self) -> list[str]:
        """Name the orgs whose round should have ended by now."""
        now = self._clock()
        return [org for org, latest in self._latest.items() if now > latest]
