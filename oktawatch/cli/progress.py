"""Show a backfill's progress: bars on a terminal, log lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from oktawatch.engine.backfill import Progress as Reached

_log: Any = structlog.get_logger(__name__)

LOG_INTERVAL_S = 10.0
"""Seconds between two log lines about an org."""

Show = Callable[["Reached"], None]
"""Show a backfill's progress after a page."""


class _EventRate:
    """Events per second since the start of this run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()

    def of(self, reached: "Reached") -> float:
        return reached.total.events / max(self._clock() - self._started_at, 0.001)


@contextmanager
def bars(console: "Console", clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Show a bar per org, with rate and remaining time, while the block runs.

    This replaces ``sys.stderr``, so that output appears above the bars. Configure logging again inside
    the block.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    event_rate = _EventRate(clock)
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s, left:", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, redirect_stdout=False) as progress:

        def show(reached: "Reached") -> None:
            if reached.org not in tasks:
                span_s = int((reached.until - reached.since).total_seconds())
                tasks[reached.org] = progress.add_task(reached.org, total=span_s, events=0, rate=0)
            progress.update(
                tasks[reached.org],
                completed=(reached.reached - reached.since).total_seconds(),
                events=reached.events,
                rate=event_rate.of(reached),
            )

        yield show


@contextmanager
def lines(clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Log a line per org every `LOG_INTERVAL_S` while the block runs."""
    event_rate = _EventRate(clock)
    logged_at: dict[str, float] = {}

    def show(reached: "Reached") -> None:
        now = clock()
        if now - logged_at.setdefault(reached.org, now) < LOG_INTERVAL_S:
            return
        logged_at[reached.org] = now
        span, done = reached.until - reached.since, reached.reached - reached.since
        _log.info(
            "backfill_progress",
            org=reached.org,
            reached=reached.reached,
            percent=round(100 * done / span) if span else 100,
            events=reached.events,
            events_per_second=round(event_rate.of(reached)),
        )

    yield show
