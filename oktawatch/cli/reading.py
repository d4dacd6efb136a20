"""Shared code of the commands that read past events: orgs, time span and progress."""

import signal
import sys
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oktawatch.cli.exits import UsageError
from oktawatch.cli.options import point_in_time
from oktawatch.cli.output import console
from oktawatch.cli.setup import start_logging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oktawatch.cli.progress import BackfillProgress
    from oktawatch.config import Settings
    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.service.app import Application
    from oktawatch.service.backfill import BackfillResult

IN_MEMORY = "sqlite://"
"""The URL of a temporary database."""


def time_span(since: str, until: str | None) -> tuple[datetime, datetime]:
    """Parse --since and --until. Raise UsageError unless --since is earlier."""
    from oktawatch.model.timestamps import utc_now

    now = utc_now()
    begin = point_in_time(since, "--since", now=now)
    end = now if until is None else point_in_time(until, "--until", now=now)
    if begin >= end:
        limit = "now" if until is None else "--until"
        raise UsageError(f"wrong value (--since): expected a time before {limit}")
    return begin, end


def chosen_orgs(settings: "Settings", names: list[str]) -> list[str]:
    """Return the names of the orgs to read, by default all. Raise UsageError for an unknown name."""
    known = [org.name for org in settings.orgs]
    for name in names:
        if name not in known:
            raise UsageError(f"no such org (--org {name}): there are: {', '.join(known)}")
    return names or known


def without_ids(alerts: "Sequence[Mapping[str, Any]]") -> list[dict[str, Any]]:
    """Remove the ids from the alerts of a temporary database, because no other command can look them up."""
    return [{name: value for name, value in alert.items() if name != "id"} for alert in alerts]


def backfill_with_progress(
    settings: "Settings",
    app: "Application",
    database: "DatabaseExecutor",
    *,
    command: str,
    since: datetime,
    until: datetime,
    notify: bool,
    debug: bool,
) -> "BackfillResult":
    """Run a backfill with progress on standard error. SIGTERM interrupts it like Ctrl-C."""
    import asyncio

    from oktawatch.service.backfill import backfill

    async def read() -> "BackfillResult":
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        reading = backfill(
            app, database, command=command, since=since, until=until, notify=notify, progress=progress
        )
        return await database.until_cancelled(reading)

    with _progress(settings, debug=debug) as progress:
        return asyncio.run(read())


@contextmanager
def _progress(settings: "Settings", *, debug: bool) -> "Iterator[BackfillProgress]":
    """Show progress on standard error. On a terminal, log lines appear above the bars."""
    from oktawatch.cli.progress import bars, lines

    screen = console(sys.stderr)
    with ExitStack() as stack:
        if screen.is_terminal:
            # Called after the bars have ended, to log to the original stream again.
            stack.callback(start_logging, settings, debug=debug)
            progress = stack.enter_context(bars(screen))
            start_logging(settings, debug=debug)
        else:
            progress = lines()
        yield progress
