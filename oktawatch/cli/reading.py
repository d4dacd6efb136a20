"""What the commands that read the past share: which orgs, from when to when, and progress meanwhile."""

import asyncio
import signal
import sys
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from oktawatch.cli.exits import UsageError
from oktawatch.cli.options import point_in_time
from oktawatch.cli.output import console
from oktawatch.cli.setup import start_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oktawatch.config import OrgSettings, Settings
    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.service.backfill import Past, PastResult, Show

IN_MEMORY = "sqlite://"
"""A database of a reading that leaves nothing behind."""


def stretch(since: str, until: str | None) -> tuple[datetime, datetime]:
    """Read --since and --until; UsageError when they make no stretch of time."""
    from oktawatch.model.timestamps import utc_now

    now = utc_now()
    begin = point_in_time(since, "--since", now=now)
    end = now if until is None else point_in_time(until, "--until", now=now)
    if begin >= end:
        limit = "now" if until is None else "--until"
        raise UsageError(f"wrong value (--since): expected a time before {limit}")
    return begin, end


def chosen_orgs(settings: "Settings", names: list[str]) -> "list[OrgSettings]":
    """Give the orgs of these names, all of them when there is none; UsageError names an unknown one."""
    known = {org.name: org for org in settings.orgs}
    for name in names:
        if name not in known:
            raise UsageError(f"no such org (--org {name}): there are: {', '.join(known)}")
    return [org for org in settings.orgs if not names or org.name in names]


def read_past(
    settings: "Settings",
    past: "Past",
    database: "DatabaseExecutor",
    *,
    command: str,
    since: datetime,
    until: datetime,
    telling: bool,
    debug: bool,
) -> "PastResult":
    """Read the past with progress on standard error; SIGTERM ends it as Ctrl-C does."""

    async def read() -> "PastResult":
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as SIGINT does
        reading = past.read(
            database, command=command, since=since, until=until, telling=telling, progress=show
        )
        return await database.until_cancelled(reading)

    with _progress(settings, debug=debug) as show:
        return asyncio.run(read())


@contextmanager
def _progress(settings: "Settings", *, debug: bool) -> "Iterator[Show]":
    """Show progress on standard error; log lines then go above the bars."""
    from oktawatch.cli import progress

    screen = console(sys.stderr)
    with ExitStack() as stack:
        if screen.is_terminal:
            stack.callback(start_logging, settings, debug=debug)  # to what is standard error afterwards
            show = stack.enter_context(progress.bars(screen))
            start_logging(settings, debug=debug)
        else:
            show = stack.enter_context(progress.lines())
        yield show
