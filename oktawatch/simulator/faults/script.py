"""The script that decides which requests get which fault."""

import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from oktawatch.simulator.hangs import HangingRequests
from oktawatch.simulator.query import LOGS

from .fault import Fault

Applies = Callable[[Fault], bool]
"""Tests whether a fault applies to a request."""
Rule = Callable[[Applies], Fault | None]
"""Returns the fault for the next request, or None."""


class Script:
    """The faults to inject: a list of rules. The first rule that returns a fault wins. Thread-safe.

    `now` is the org's clock. A rule sees only requests on its path for which no earlier rule returned a fault.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.hangs = HangingRequests()
        self._now = now
        self._rules: list[tuple[str, Rule]] = []
        self._lock = threading.Lock()

    def next(self, count: int, fault: Fault, *, path: str = LOGS) -> None:
        """Inject a fault into the next `count` requests to which it applies."""
        remaining = count

        def rule(applies: Applies) -> Fault | None:
            nonlocal remaining
            if remaining == 0 or not applies(fault):
                return None
            remaining -= 1
            return fault

        self._add(path, rule)

    def kth(self, k: int, fault: Fault, *, path: str = LOGS) -> None:
        """Inject a fault into the k-th request to which it applies; 1 is the next one."""
        count = 0

        def rule(applies: Applies) -> Fault | None:
            nonlocal count
            count += applies(fault)
            return fault if count == k and applies(fault) else None

        self._add(path, rule)

    def some(self, share: float, faults: Sequence[Fault], *, seed: int, path: str = LOGS) -> None:
        """Inject one of `faults`, at random, into a share (0 to 1) of the requests.

        A fault that doesn't apply to its request is dropped, not drawn again, so that the draws depend only on
        the number of requests.
        """
        rng = random.Random(seed)  # noqa: S311 -- repeatable, not secret

        def rule(applies: Applies) -> Fault | None:
            selected, fault = rng.random() < share, rng.choice(faults)
            return fault if selected and applies(fault) else None

        self._add(path, rule)

    def between(self, start: datetime, end: datetime, fault: Fault, *, path: str = LOGS) -> None:
        """Inject a fault into every request from `start` up to, but not including, `end`."""

        def rule(applies: Applies) -> Fault | None:
            return fault if start <= self._now() < end and applies(fault) else None

        self._add(path, rule)

    def clear(self) -> None:
        """Delete all rules. Requests that hang continue to hang."""
        with self._lock:
            self._rules.clear()

    def draw(self, path: str, *, has_cursor: bool) -> Fault | None:
        """Return the fault for a request, or None."""

        def applies(fault: Fault) -> bool:
            return has_cursor or not fault.needs_cursor

        with self._lock:
            rules = (rule for rule_path, rule in self._rules if rule_path == path)
            return next((fault for rule in rules if (fault := rule(applies)) is not None), None)

    def _add(self, path: str, rule: Rule) -> None:
        with self._lock:
            self._rules.append((path, rule))
