"""The progress of a backfill, on a terminal and elsewhere."""

import io
from datetime import UTC, datetime, timedelta

import structlog
from rich.console import Console

from oktawatch.cli.progress import LOG_INTERVAL_S, bars, lines
from oktawatch.engine.backfill import Progress
from oktawatch.engine.pipeline import PageResult

SINCE = datetime(2026, 11, 17, tzinfo=UTC)
UNTIL = datetime(2026, 11, 24, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time at which the clock stands."""
        return self.seconds


def progress(org: str, days: int, *, events: int, before: int = 0) -> Progress:
    """Report that a backfill has read some of its seven days, of which ``before`` events in an interrupted run."""
    return Progress(
        org=org,
        since=SINCE,
        until=UNTIL,
        reached=SINCE + timedelta(days=days),
        events=before + events,
        total=PageResult(events=events),
    )


def test_bars() -> None:
    """A terminal shows, for each org, its part of the span, all events, and the rate of this run alone."""
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)

    with bars(console, clock) as show:
        clock.seconds = 2.0
        show(progress("acme", 7, events=3_000, before=10_000))
        show(progress("[red]two", 0, events=0))

    drawn = screen.getvalue().splitlines()
    acme = [line for line in drawn if "acme" in line][-1]
    two = [line for line in drawn if "[red]two" in line][-1]
    assert "100% 13,000 events, 1,500/s" in acme
    assert "  0% 0 events, 0/s" in two


def test_lines() -> None:
    """Without a terminal, each org's progress is printed from time to time."""
    clock = Clock()

    with structlog.testing.capture_logs() as logged, lines(clock) as show:
        for org in ("one", "two"):
            show(progress(org, 0, events=0))
        clock.seconds = LOG_INTERVAL_S - 0.1
        show(progress("one", 1, events=1_000))
        clock.seconds = LOG_INTERVAL_S
        show(progress("one", 2, events=2_000))
        show(progress("one", 3, events=3_000))

    [line] = logged
    assert (line["event"], line["org"], line["percent"]) == ("backfill_progress", "one", 29)
    assert (line["events"], line["events_per_second"]) == (2_000, 200)


def test_a_span_of_nothing() -> None:
    """A span that Okta's retention has cut to nothing divides by nothing."""
    clock = Clock()
    nothing = Progress(org="acme", since=SINCE, until=SINCE, reached=SINCE, events=0, total=PageResult())

    with structlog.testing.capture_logs() as logged, lines(clock) as show:
        show(nothing)
        clock.seconds = LOG_INTERVAL_S
        show(nothing)
    with bars(Console(file=io.StringIO(), force_terminal=True), clock) as draw:
        draw(nothing)

    assert [line["percent"] for line in logged] == [100]
