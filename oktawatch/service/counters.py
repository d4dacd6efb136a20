"""Count what this process does, for `/metrics`.

The counters start at zero with the process and outlive reloads. They are plain numbers, so that counting is cheap
even if no metrics are served; `metrics.py` renders them for Prometheus.

Labels have few values: orgs, rules and notifiers come from the configuration, severities, reasons and results from
fixed lists. A text from an event or a server is never a label.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from oktawatch.engine.deliver import DeliveryResult
from oktawatch.engine.pipeline import PageResult
from oktawatch.model.severity import Severity

POLL_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram of polls, in seconds. A poll is cancelled after six minutes."""


class Histogram:
    """Counts values by their size. `metrics.py` renders the counts as Prometheus' cumulative buckets."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds`` are the buckets' upper bounds in ascending order."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """The number of values in each bucket, and of those above all bounds."""
        self.sum = 0.0

    @contextmanager
    def time(self) -> Iterator[None]:
        """Count the seconds that the block takes, even if it fails."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.observe(time.monotonic() - began_s)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counters:
    """The counters of this process."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """Usable events on committed pages, by org."""
        self.duplicates: Counter[str] = Counter()
        """Events that a poll read although they were already recorded, by org."""
        self.late: Counter[str] = Counter()
        """New events that a sweep found, by org."""
        self.rejected: Counter[str] = Counter()
        """Unusable events that were not recorded before, by org."""
        self.alerts: Counter[tuple[str, str, Severity]] = Counter()
        """Alerts that reached their rule's threshold, by org, rule and severity."""
        self.poll_failures: Counter[tuple[str, str]] = Counter()
        """Failed polls by org and reason."""
        self.polls = Histogram(POLL_SECONDS)
        """Seconds that polls took, failed ones too."""
        self.notifications: Counter[tuple[str, DeliveryResult]] = Counter()
        """Attempts to deliver, by notifier and result."""

    def polled(self, org: str, page: PageResult) -> None:
        """Count a page that a poll committed."""
        self._committed(org, page)
        self.duplicates[org] += page.events - page.new_events

    def swept(self, org: str, page: PageResult) -> None:
        """Count a page that a sweep committed. Its known events are expected, so they don't count as duplicates."""
        self._committed(org, page)
        self.late[org] += page.new_events

    def poll_failed(self, org: str, reason: str) -> None:
        """Count a failed poll."""
        self.poll_failures[org, reason] += 1

    def delivered(self, notifier: str, result: DeliveryResult) -> None:
        """Count an attempt to deliver a notification."""
        self.notifications[notifier, result] += 1

    def _committed(self, org: str, page: PageResult) -> None:
        self.events[org] += page.events
        self.rejected[org] += page.rejected
        for (rule_id, severity), count in page.alerts.items():
            self.alerts[org, rule_id, severity] += count
