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
from oktawatch.engine.backfill import Progress as OrgProgress

_log: Any = structlog.get_logger(__name__)

LOG_INTERVAL_S = 10.0
"""Seconds between two lines about the same progress."""
_SHORTEST_WAIT_S = 2.0
"""Shorter waits for the rate limit are not shown."""


class BackfillProgress:
    """Receives the progress of a backfill. This base class shows nothing."""

    def reached(self, progress: OrgProgress) -> None:
        """Show how far an org has been read."""

    def waits(self, org: str, seconds: float) -> None:
        """Show that an org's next request waits for its rate limit."""


class _Pace:
    """Measures the speed of each org's backfill in this run, including all waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._starts: dict[str, tuple[float, float]] = {}
        """By org: the time and the completed fraction when the measurement began."""

    def events_per_second(self, progress: OrgProgress) -> float:
        return progress.total.events / max(self._clock() - self._started_at, 0.001)

    def left(self, progress: OrgProgress) -> timedelta | None:
        """Estimate the remaining time; None if it can't be estimated yet."""
        now, fraction = self._clock(), _fraction(progress)
        resumed = progress.events > progress.total.events
        start = (now, fraction) if resumed else (self._started_at, 0.0)
        start_time, start_fraction = self._starts.setdefault(progress.org, start)
        if fraction <= start_fraction:
            return None
        return timedelta(seconds=round((now - start_time) * (1 - fraction) / (fraction - start_fraction)))


def _fraction(progress: OrgProgress) -> float:
    span = progress.until - progress.since
    return min((progress.reached - progress.since) / span, 1.0) if span else 1.0


class _State(ProgressColumn):
    """Shows that an org waits for its rate limit, or else its progress."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock

    def render(self, task: Task) -> Text:
        wait_s = task.fields["waits_until"] - self._clock()
        return Text(f"waiting {wait_s:.0f} s for Okta's rate limit" if wait_s > 0 else task.fields["state"])


class _Bars(BackfillProgress):
    """Shows a bar per org, with its rate and remaining time or its wait for the rate limit."""

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

    def reached(self, progress: OrgProgress) -> None:
        left = self._pace.left(progress)
        state = f"{progress.events:,} events, {self._pace.events_per_second(progress):,.0f}/s"
        state += "" if left is None else f", {left} left"
        self.drawing.update(self._task(progress.org), completed=_fraction(progress), state=state)

    def waits(self, org: str, seconds: float) -> None:
        if seconds >= _SHORTEST_WAIT_S:
            self.drawing.update(self._task(org), waits_until=self._clock() + seconds)

    def _task(self, org: str) -> TaskID:
        if org not in self._tasks:
            self._tasks[org] = self.drawing.add_task(org, total=1.0, state="0 events", waits_until=0.0)
        return self._tasks[org]


class _Lines(BackfillProgress):
    """Logs a line per org every `LOG_INTERVAL_S`, and a line for each longer wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pace = _Pace(clock)
        self._logged_at: dict[str, float] = {}

    def reached(self, progress: OrgProgress) -> None:
        now, left = self._clock(), self._pace.left(progress)
        if now - self._logged_at.setdefault(progress.org, now) < LOG_INTERVAL_S:
            return
        self._logged_at[progress.org] = now
        _log.info(
            "backfill_progress",
            org=progress.org,
            reached=progress.reached,
            percent=round(100 * _fraction(progress)),
            events=progress.events,
            events_per_second=round(self._pace.events_per_second(progress)),
            left=None if left is None else str(left),
        )

    def waits(self, org: str, seconds: float) -> None:
        if seconds >= _SHORTEST_WAIT_S:
            _log.info("waiting_for_rate_limit", org=org, seconds=round(seconds))


@contextmanager
def bars(screen: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[BackfillProgress]:
    """Show a bar per org while the block runs.

    The bars replace ``sys.stderr``, so that output appears above them. Configure logging again inside the block.
    """
    shown = _Bars(screen, clock)
    with shown.drawing:
        yield shown


def lines(clock: Callable[[], float] = time.monotonic) -> BackfillProgress:
    """Return a `BackfillProgress` that logs lines."""
    return _Lines(clock)


@contextmanager
def steps(
    what: str, unit: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the block. The block calls the yielded function with the finished and the total units."""
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
    last_shown_at = clock()

    def show(done: int, total: int) -> None:
        nonlocal last_shown_at
        if clock() - last_shown_at >= LOG_INTERVAL_S:
            last_shown_at = clock()
            note(f"{what}: {done:,} of {total:,} {unit}")

    return show


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner while the block runs, on a terminal only. The block calls the yielded function with its current step."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield lambda _step: None
        return
    with screen.status(f"{what} …") as status:
        yield lambda step: status.update(f"{what} {step} …")
