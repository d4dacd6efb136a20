"""Which requests get which fault."""

import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from oktawatch.simulator.query import LOGS

from .fault import Fault
from .hangs import Hangs

Suits = Callable[[Fault], bool]
Line = Callable[[Suits], Fault | None]
"""One line of the script: what it says of the next request, given what suits that request."""


class Script:
    """The faults that are to come. The first line that has one for a request decides. Thread-safe.

    `now` is the org's clock. Each line counts the requests on its path that no earlier line has taken.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.hangs = Hangs()
        self._now = now
        self._lines: list[tuple[str, Line]] = []
        self._lock = threading.Lock()

    def next(self, count: int, fault: Fault, *, path: str = LOGS) -> None:
        """Let the next so many requests get a fault; those that it does not suit are not counted."""
        left = count

        def line(suits: Suits) -> Fault | None:
            nonlocal left
            if left == 0 or not suits(fault):
                return None
            left -= 1
            return fault

        self._add(path, line)

    def kth(self, k: int, fault: Fault, *, path: str = LOGS) -> None:
        """Let the k-th of the requests that a fault suits get it; 1 is the next."""
        count = 0

        def line(suits: Suits) -> Fault | None:
            nonlocal count
            count += suits(fault)
            return fault if count == k and suits(fault) else None

        self._add(path, line)

    def some(self, share: float, faults: Sequence[Fault], *, seed: int, path: str = LOGS) -> None:
        """Let a share of the requests, from 0 to 1, get one of these faults, drawn from a seed.

        A drawn fault that does not suit its request is let go, so that the draws depend on the number of
        requests alone.
        """
        rng = random.Random(seed)  # noqa: S311 - repeatable, not secret

        def line(suits: Suits) -> Fault | None:
            struck, fault = rng.random() < share, rng.choice(faults)
            return fault if struck and suits(fault) else None

        self._add(path, line)

    def between(self, start: datetime, end: datetime, fault: Fault, *, path: str = LOGS) -> None:
        """Let each request from one time up to another, by the org's clock, get a fault."""

        def line(suits: Suits) -> Fault | None:
            return fault if start <= self._now() < end and suits(fault) else None

        self._add(path, line)

    def clear(self) -> None:
        """Forget what is still to come. What hangs goes on hanging."""
        with self._lock:
            self._lines.clear()

    def draw(self, path: str, *, has_cursor: bool) -> Fault | None:
        """Return the fault of a request, None when it is to be answered well."""

        def suits(fault: Fault) -> bool:
            return has_cursor or not fault.needs_cursor

        with self._lock:
            lines = (line for where, line in self._lines if where == path)
            return next((fault for line in lines if (fault := line(suits)) is not None), None)

    def _add(self, path: str, line: Line) -> None:
        with self._lock:
            self._lines.append((path, line))
