"""Show the progress of long commands: bars on a terminal, lines elsewhere.

Import this module only in commands that show progress, because rich takes a while to import.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from oktawatch.cli.output import console, note
from oktawatch.engine.backfill import Progress as Reached

_log: Any = structlog.get_logger(__name__)

LOG_INTERVAL_S = 10.0
"""Seconds between two log lines about an org."""
_SHORTEST_WAIT_S = 2.0
"""Shorter waits for the rate limit are not shown."""


class BackfillProgress:
    """Receives the progress of a backfill. This one shows nothing."""

    def reached(self, reached: Reached) -> None:
        """Show how far an org has been read."""

    def waits(self, org: str, seconds: float) -> None:
        """Show that an org's next request waits for its rate limit."""


class _Pace:
    """The pace of an org's backfill since the start of this run, including all waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._began: dict[str, tuple[float, float]] = {}
        """The time and the fraction from which on the pace of an org is measured."""

    def events_per_second(self, reached: Reached) -> float:
        return reached.total.events / max(self._clock() - self._started_at, 0.001)

    def left(self, reached: Reached) -> timedelta | None:
        """Estimate the remaining time; None if it can't be estimated yet."""
        now, fraction = self._clock(), _fraction(reached)
        resumed = reached.events > reached.total.events
        start = (now, fraction) if resumed else (self._started_at, 0.0)
        began_at, began = self._began.setdefault(reached.org, start)
        if fraction <= began:
            return None
        return timedelta(seconds=round((now - began_at) * (1 - fraction) / (fraction - began)))


def _fraction(reached: Reached) -> float:
    span = reached.until - reached.since
    return min((reached.reached - reached.since) / span, 1.0) if span else 1.0


class _State(ProgressColumn):
    """The reason for which an org waits, or else how far it has come."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock

    def render(self, task: Task) -> Text:
        wait_s = task.fields["waits_until"] - self._clock()
        return Text(f"waiting {wait_s:.0f} s for Okta's rate limit" if wait_s > 0 else task.fields["state"])


class _Bars(BackfillProgress):
    """A bar per org, with rate and remaining time, or the reason for which it waits."""

    def __init__(self, screen: Console, clock: Callable[[], float]) -> None:
        self.drawing = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            _State(clock),
            console=screen,
            redirect_stdout=False,
        )
        self._clock = clock
        self._pace = _Pace(clock)
        self._tasks: dict[str, TaskID] = {}

    def reached(self, reached: Reached) -> None:
        left = self._pace.left(reached)
        state = f"{reached.events:,} events, {self._pace.events_per_second(reached):,.0f}/s"
        state += "" if left is None else f", {left} left"
        self.drawing.update(self._task(reached.org), completed=_fraction(reached), state=state)

    def waits(self, org: str, seconds: float) -> None:
        if seconds >= _SHORTEST_WAIT_S:
            self.drawing.update(self._task(org), waits_until=self._clock() + seconds)

    def _task(self, org: str) -> TaskID:
        if org not in self._tasks:
            self._tasks[org] = self.drawing.add_task(org, total=1.0, state="0 events", waits_until=0.0)
        return self._tasks[org]


class _Lines(BackfillProgress):
    """Log lines, one per org every `LOG_INTERVAL_S`, and one for each wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pace = _Pace(clock)
        self._logged_at: dict[str, float] = {}

    def reached(self, reached: Reached) -> None:
        now, left = self._clock(), self._pace.left(reached)
        if now - self._logged_at.setdefault(reached.org, now) < LOG_INTERVAL_S:
            return
        self._logged_at[reached.org] = now
        _log.info(
            "backfill_progress",
            org=reached.org,
            reached=reached.reached,
            percent=round(100 * _fraction(reached)),
            events=reached.events,
            events_per_second=round(self._pace.events_per_second(reached)),
            left=None if left is None else str(left),
        )

    def waits(self, org: str, seconds: float) -> None:
        if seconds >= _SHORTEST_WAIT_S:
            _log.info("waiting_for_rate_limit", org=org, seconds=round(seconds))


@contextmanager
def bars(screen: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[BackfillProgress]:
    """Show a bar per org while the block runs.

    This replaces ``sys.stderr``, so that output appears above the bars. Configure logging again inside
    the block.
    """
    shown = _Bars(screen, clock)
    with shown.drawing:
        yield shown


def lines(clock: Callable[[], float] = time.monotonic) -> BackfillProgress:
    """Return a progress that logs lines."""
    return _Lines(clock)


@contextmanager
def steps(
    what: str, unit: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the block. Call the result with the number of units that are done, and the total."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield _step_lines(what, unit, clock)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}, left:", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen) as drawing:
        task = drawing.add_task(what, total=0)
        yield lambda done, total: drawing.update(task, completed=done, total=total)


def _step_lines(what: str, unit: str, clock: Callable[[], float]) -> Callable[[int, int], None]:
    last = clock()

    def show(done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= LOG_INTERVAL_S:
            last = clock()
            note(f"{what}: {done:,} of {total:,} {unit}")

    return show


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what the block works on. Call the result with its current part."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield lambda _part: None
        return
    with screen.status(f"{what} …") as status:
        yield lambda part: status.update(f"{what} {part} …")
