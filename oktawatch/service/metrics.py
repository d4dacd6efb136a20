"""Render the metrics in Prometheus' text format. docs/metrics.md describes each of them."""

import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector

from oktawatch import __version__
from oktawatch.engine.deliver import DeliveryResult
from oktawatch.service.counters import Counters
from oktawatch.service.vitals import Snapshot

Labels = tuple[str, ...]


class _Scrape:
    """The metrics of one scrape, in place of a registry of prometheus_client."""

    def __init__(self, counters: Counters, snapshot: Snapshot) -> None:
        self._counters = counters
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield InfoMetricFamily(
            "oktawatch_build",
            "The version of oktawatch.",
            value={"version": __version__, "python": platform.python_version()},
        )
        yield from _counted(self._counters, self._snapshot)
        yield from _of_process(self._snapshot)
        yield from _of_database(self._snapshot)
        yield from ProcessCollector(registry=None).collect()


def render(counters: Counters, snapshot: Snapshot) -> bytes:
    """Return all metrics as text."""
    scrape: Any = _Scrape(counters, snapshot)
    text: bytes = generate_latest(scrape)
    return text


def _counted(counters: Counters, snapshot: Snapshot) -> Iterator[Metric]:
    by_org = {
        "events": (counters.events, "Usable events on committed pages."),
        "duplicate_events": (
            counters.duplicates,
            "Events that a poll read although they were already recorded.",
        ),
        "late_events": (counters.late, "New events that a sweep found."),
        "rejected_events": (
            counters.rejected,
            "Events that could not be used: see the table rejected_events.",
        ),
    }
    for name, (values, text) in by_org.items():
        # A counter that appears only with its first event would hide that event from rate() and increase().
        counts = dict.fromkeys(snapshot.orgs, 0) | values
        yield _counter(name, text, ("org",), {(org,): count for org, count in counts.items()})
    alerts = {(org, rule, severity.name): count for (org, rule, severity), count in counters.alerts.items()}
    yield _counter("alerts", "New alerts.", ("org", "rule", "severity"), alerts)
    yield _counter("poll_failures", "Failed polls.", ("org", "reason"), counters.poll_failures)
    results = {(name, result): 0 for name in snapshot.notifiers for result in get_args(DeliveryResult)}
    attempts = results | counters.notifications
    text = "Attempts to deliver a notification: delivered, failed (to be retried) or dead (given up)."
    yield _counter("notifications", text, ("notifier", "result"), attempts)
    yield _histogram(counters)


def _of_process(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge(
        "org_polled",
        "1 if this process polls the org, otherwise 0.",
        ("org",),
        {(org,): float(org in snapshot.held) for org in snapshot.orgs},
    )
    yield _gauge(
        "rate_limit_remaining",
        "Requests that remained of the org's rate limit at Okta's last answer.",
        ("org",),
        {(org,): count for org, count in snapshot.rate_limits_remaining.items()},
    )
    yield _gauge(
        "evidence_age_seconds",
        "Seconds since a source of evidence was last fetched or found unchanged. Without a URL: since its file was modified.",
        ("source",),
        {(name,): (snapshot.now - at).total_seconds() for name, at in snapshot.evidence.items()},
    )


def _of_database(snapshot: Snapshot) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "oktawatch_database_up",
        "1 if the database answers and the last write succeeded.",
        value=float(snapshot.database_works),
    )
    gauges = snapshot.gauges
    if gauges is None:
        return
    # Infinity if no poll ever caught up or the clock was set back: an unknown lag must not look like a small one.
    lags = {
        (org,): float("inf") if health.lag is None else health.lag.total_seconds()
        for org, health in snapshot.health.items()
    }
    yield _gauge("lag_seconds", "Seconds since a poll of the org last caught up.", ("org",), lags)
    caught_up = {
        (org,): gauges.orgs[org].last_caught_up_at
        for org in snapshot.health
        if gauges.orgs[org].last_caught_up_at
    }
    yield _gauge(
        "last_good_poll_timestamp_seconds",
        "When a poll of the org last caught up.",
        ("org",),
        {labels: at.timestamp() for labels, at in caught_up.items() if at is not None},
    )
    outbox = {(state.value,): count for state, count in gauges.outbox.items()}
    yield _gauge("outbox", "Notifications in the outbox: pending, or dead letters.", ("state",), outbox)
    pending = outbox["pending",]
    yield _gauge("notifications_pending", "Notifications that wait to be sent.", (), {(): pending})
    yield _gauge("database_bytes", "The size of the database.", (), {(): gauges.space.used})
    if gauges.space.free is not None:
        text = "The free space of the disk of an SQLite database."
        yield _gauge("database_free_bytes", text, (), {(): gauges.space.free})


def _counter(name: str, text: str, labels: Labels, counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"oktawatch_{name}", text, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, labels: Labels, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"oktawatch_{name}", text, labels=labels)
    for label_values, value in sorted(values.items()):
        family.add_metric(label_values, value)
    return family


def _histogram(counters: Counters) -> Metric:
    polls = counters.polls
    family = HistogramMetricFamily("oktawatch_poll_seconds", "Seconds that a poll took, failed or not.")
    buckets = zip([*(str(bound) for bound in polls.bounds), "+Inf"], _cumulative(polls.counts), strict=True)
    family.add_metric((), list(buckets), polls.sum)
    return family


def _cumulative(counts: Iterable[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total
