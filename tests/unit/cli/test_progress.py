"""The progress of a backfill, on a terminal and elsewhere."""

import io
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from rich.console import Console

from oktawatch.cli.progress import LOG_INTERVAL_S, bars, lines, steps
from oktawatch.engine.backfill import Progress
from oktawatch.engine.pipeline import PageResult

SINCE = datetime(2026, 11, 17, tzinfo=UTC)
UNTIL = datetime(2026, 11, 24, tzinfo=UTC)


class Clock:
    """A clock that moves only when the test advances it."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def progress(org: str, days: int, *, events: int, before: int = 0) -> Progress:
    """Build the progress after some of seven days. An interrupted run has read ``before`` events already."""
    return Progress(
        org=org,
        since=SINCE,
        until=UNTIL,
        reached=SINCE + timedelta(days=days),
        events=before + events,
        total=PageResult(events=events),
    )


def test_a_terminal_shows_a_bar_for_each_org() -> None:
    """A terminal shows each org's percentage, its events including earlier runs, and the rate of this run."""
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)

    with bars(console, clock) as show:
        clock.seconds = 2.0
        show.reached(progress("acme", 7, events=3_000, before=10_000))
        show.reached(progress("[red]two", 0, events=0))

    drawn = screen.getvalue().splitlines()
    acme = [line for line in drawn if "acme" in line][-1]
    two = [line for line in drawn if "[red]two" in line][-1]
    assert "100% 13,000 events, 1,500/s" in acme
    assert "  0% 0 events, 0/s" in two


def test_progress_is_logged_without_a_terminal() -> None:
    """Without a terminal, each org's progress is logged every `LOG_INTERVAL_S`."""
    clock = Clock()

    with structlog.testing.capture_logs() as logged:
        show = lines(clock)
        for org in ("one", "two"):
            show.reached(progress(org, 0, events=0))
        clock.seconds = LOG_INTERVAL_S - 0.1
        show.reached(progress("one", 1, events=1_000))
        clock.seconds = LOG_INTERVAL_S
        show.reached(progress("one", 2, events=2_000))
        show.reached(progress("one", 3, events=3_000))

    [line] = logged
    assert (line["event"], line["org"], line["percent"]) == ("backfill_progress", "one", 29)
    assert (line["events"], line["events_per_second"]) == (2_000, 200)


def test_an_empty_span_is_complete() -> None:
    """A span that Okta's retention has cut to zero is shown as complete, without a division by zero."""
    clock = Clock()
    empty = Progress(org="acme", since=SINCE, until=SINCE, reached=SINCE, events=0, total=PageResult())

    with structlog.testing.capture_logs() as logged:
        show = lines(clock)
        show.reached(empty)
        clock.seconds = LOG_INTERVAL_S
        show.reached(empty)
    with bars(Console(file=io.StringIO(), force_terminal=True), clock) as draw:
        draw.reached(empty)

    assert [line["percent"] for line in logged] == [100]


def drawn_at_80_columns(screen: io.StringIO) -> str:
    """Return the last drawn line of the org acme."""
    return [line for line in screen.getvalue().splitlines() if "acme" in line][-1].rstrip()


def test_a_wait_is_shown() -> None:
    """While an org waits for its rate limit, its line shows the remaining seconds, and afterwards its progress."""
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)

    with bars(console, clock) as show:
        clock.seconds = 10.0
        show.reached(progress("acme", 1, events=1_000))
        show.waits("acme", 44.2)
    waiting = drawn_at_80_columns(screen)
    with bars(console, clock) as show:
        show.reached(progress("acme", 1, events=1_000))
        show.waits("acme", 44.2)
        clock.seconds = 60.0
    after = drawn_at_80_columns(screen)

    assert waiting.endswith("waiting 44 s for Okta's rate limit")
    assert "1,000 events" in after


def test_the_estimate_includes_waits() -> None:
    """The estimate of the remaining time counts waits, and for a resumed backfill only the current run."""
    clock = Clock()

    with structlog.testing.capture_logs() as logged:
        show = lines(clock)
        show.reached(progress("new", 0, events=0))
        show.reached(progress("resumed", 3, events=0, before=500))
        clock.seconds = 20.0
        show.waits("new", 40.0)
        show.waits("new", 0.1)
        clock.seconds = 60.0
        show.reached(progress("new", 1, events=100))
        show.reached(progress("resumed", 5, events=100, before=500))

    wait, new, resumed = logged
    assert (wait["event"], wait["org"], wait["seconds"]) == ("waiting_for_rate_limit", "new", 40)
    assert (new["org"], new["left"]) == ("new", "0:06:00")
    assert (resumed["org"], resumed["left"]) == ("resumed", "0:01:00")


def test_a_terminal_shows_finished_and_total_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows the finished and the total units."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("oktawatch.cli.progress.console", lambda _stream: terminal)
    with steps("deleting", unit="rows") as show:
        show(1_500, 6_000)
    assert "25% 1,500 of 6,000 rows" in screen.getvalue()


def test_steps_are_logged_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file or pipe gets a line every `LOG_INTERVAL_S`."""
    clock = Clock()
    with steps("deleting", unit="rows", clock=clock) as show:
        show(1_000, 6_000)
        clock.seconds = LOG_INTERVAL_S
        show(2_000, 6_000)
        show(3_000, 6_000)
    assert capsys.readouterr().err == "deleting: 2,000 of 6,000 rows\n"
