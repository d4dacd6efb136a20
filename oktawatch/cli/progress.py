"""How far a backfill has come: bars on a terminal, log lines elsewhere."""

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

LOG_EVERY = 10.0
"""Seconds between two lines about one org."""

Show = Callable[["Reached"], None]
"""Takes what a backfill says after each page."""


class _Pace:
    """Events a second of this run, by the clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()

    def of(self, reached: "Reached") -> float:
        return reached.total.events / max(self._clock() - self._began, 0.001)


@contextmanager
def bars(console: "Console", clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Draw one bar an org, with rate and time left, while the block runs.

    Standard error is redirected above the bars meanwhile; whoever logs to it begins anew.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    pace = _Pace(clock)
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s, left:", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, redirect_stdout=False) as drawn:

        def show(reached: "Reached") -> None:
            if reached.org not in tasks:
                span = int((reached.until - reached.since).total_seconds())
                tasks[reached.org] = drawn.add_task(reached.org, total=span, events=0, rate=0)
            drawn.update(
                tasks[reached.org],
                completed=(reached.reached - reached.since).total_seconds(),
                events=reached.events,
                rate=pace.of(reached),
            )

        yield show


@contextmanager
def lines(clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Log a line an org, now and then, while the block runs."""
    pace = _Pace(clock)
    said: dict[str, float] = {}

    def show(reached: "Reached") -> None:
        now = clock()
        if now - said.setdefault(reached.org, now) < LOG_EVERY:
            return
        said[reached.org] = now
        span, done = reached.until - reached.since, reached.reached - reached.since
        _log.info(
            "backfill_progress",
            org=reached.org,
            reached=reached.reached,
            percent=round(100 * done / span) if span else 100,
            events=reached.events,
            events_per_second=round(pace.of(reached)),
        )

    yield show
