"""``oktawatch backfill``: a bounded read of the past through the same detections."""

import asyncio
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alerts import print_alerts
from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED, UsageError
from oktawatch.cli.options import WHEN, ConfigFile, Debug, Json, point_in_time
from oktawatch.cli.output import console, note, print_json, print_table
from oktawatch.cli.setup import load_settings, own_database, start_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiohttp

    from oktawatch.cli.progress import Show
    from oktawatch.config import OrgSettings, Settings
    from oktawatch.detection.registry import RuleSet
    from oktawatch.engine.database import DatabaseExecutor
    from oktawatch.engine.pipeline import PageResult, Watch
    from oktawatch.store.database import Database
    from oktawatch.systemlog.access import OrgAccess

_AT_ONCE = 8
"""Orgs that are read at the same time: their rate limits are their own, the database is one."""
_IN_MEMORY = "sqlite://"
_LARGEST_LIST = 2**63 - 1


@dataclass(frozen=True)
class _Request:
    """What was typed."""

    since: datetime
    until: datetime
    command: str
    """By which an interrupted run is found again: the same text, whatever the order of the options."""
    notify: bool
    dry_run: bool


@dataclass(frozen=True)
class _OrgOutcome:
    """What became of one org."""

    org: str
    result: "PageResult"
    error: str | None


@dataclass(frozen=True)
class _Outcome:
    """What became of all of it."""

    orgs: list[_OrgOutcome]
    seconds: float
    """From before the first request to after the last commit."""
    alerts: list[dict[str, Any]]
    """What a dry run would have alerted."""


def backfill(
    since: Annotated[str, typer.Option(metavar="WHEN", help=f"Read what was published from here on. {WHEN}")],
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Read up to here. Default: now.", show_default=False)
    ] = None,
    org: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this org; may be given again. Default: all.", show_default=False
        ),
    ] = None,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="Tell notifiers: 'oktawatch run' sends what is put into the outbox."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, need no database; print what would be alerted.")
    ] = False,
    config: ConfigFile = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Read the past through the same detections.

    Reading again changes nothing. Interrupted, the same command within 24 hours goes on where it
    stopped. Safe beside a running daemon, which tells what was recorded here in silence.
    """
    from oktawatch.engine.assembly import make_rules

    request = _request(since, until, notify=notify, dry_run=dry_run)
    settings = load_settings(config, debug=debug)
    orgs = _chosen(settings, org or [])
    # All that can be wrong with the configuration is found before anything is written.
    rules = make_rules(settings)
    url = _IN_MEMORY if dry_run else settings.database.url.get_secret_value()
    with ExitStack() as stack:
        reading = _Reading(settings, orgs, rules, request)
        database = stack.enter_context(own_database(url))
        show = stack.enter_context(_progress(settings, debug=debug))
        try:
            outcome = asyncio.run(reading.run(database, show))
        except asyncio.CancelledError:
            stack.close()
            note(
                "interrupted: what was read is kept, and the same command within 24 hours goes on from there"
            )
            return INTERRUPTED
    document = _document(request, outcome)
    if as_json:
        print_json(document)
    else:
        _print(document)
    for failed in outcome.orgs:
        if failed.error is not None:
            note(f"error: {failed.error}")
    return FAILED if any(one.error is not None for one in outcome.orgs) else DONE


def _request(since: str, until: str | None, *, notify: bool, dry_run: bool) -> _Request:
    from oktawatch.model.timestamps import utc_now

    now = utc_now()
    begin = point_in_time(since, "--since", now=now)
    end = now if until is None else point_in_time(until, "--until", now=now)
    if begin >= end:
        limit = "now" if until is None else "--until"
        raise UsageError(f"wrong value (--since): expected a time before {limit}")
    if dry_run and notify:
        raise UsageError("--notify and --dry-run exclude each other (backfill): give one of them")
    command = f"backfill --since {since.strip()}"
    command += "" if until is None else f" --until {until.strip()}"
    return _Request(begin, end, command + (" --notify" if notify else ""), notify, dry_run)


def _chosen(settings: "Settings", names: list[str]) -> "list[OrgSettings]":
    known = {org.name: org for org in settings.orgs}
    for name in names:
        if name not in known:
            raise UsageError(f"no such org (--org {name}): there are: {', '.join(known)}")
    return [org for org in settings.orgs if not names or org.name in names]


class _Reading:
    """Reads several orgs at once. One that fails stops no other."""

    def __init__(
        self, settings: "Settings", orgs: "list[OrgSettings]", rules: "RuleSet", request: _Request
    ) -> None:
        """Take what it needs; raise ConfigError for credentials that no request can carry."""
        from oktawatch.engine.assembly import make_access, make_watch

        self._page_size = settings.poll.page_size
        self._orgs = [(make_access(settings, org), make_watch(settings, org, rules)) for org in orgs]
        self._request = request

    async def run(self, database: "DatabaseExecutor", show: "Show") -> _Outcome:
        """Read all of them. Raises StoreError when the database can't even be told of them."""
        from oktawatch.model.timestamps import utc_now
        from oktawatch.store.orgs import register_orgs
        from oktawatch.systemlog.transport import open_session

        _end_at_once(database)
        await database.run(register_orgs, [access.name for access, _ in self._orgs], now=utc_now())
        turns = asyncio.Semaphore(_AT_ONCE)
        async with open_session() as session:
            began = time.perf_counter()
            outcomes = await asyncio.gather(
                *(self._org(access, watch, database, session, show, turns) for access, watch in self._orgs)
            )
            seconds = time.perf_counter() - began
        alerts = await database.run(_every_alert) if self._request.dry_run else []
        return _Outcome(outcomes, seconds, alerts)

    async def _org(
        self,
        access: "OrgAccess",
        watch: "Watch",
        database: "DatabaseExecutor",
        session: "aiohttp.ClientSession",
        show: "Show",
        turns: asyncio.Semaphore,
    ) -> _OrgOutcome:
        from oktawatch.engine.backfill import Backfiller, Progress
        from oktawatch.engine.pipeline import PageResult
        from oktawatch.store.errors import StoreError
        from oktawatch.systemlog.client import LogClient
        from oktawatch.systemlog.errors import SystemLogError

        total = PageResult()

        def progress(reached: Progress) -> None:
            nonlocal total
            total = reached.total
            show(reached)

        request = self._request
        source = LogClient(access, session=session)
        backfiller = Backfiller(source, database, watch, page_size=self._page_size, progress=progress)
        async with turns:
            try:
                await backfiller.run(
                    command=request.command,
                    since=request.since,
                    until=request.until,
                    telling=request.notify,
                )
            except (SystemLogError, StoreError) as error:
                return _OrgOutcome(access.name, total, str(error))
        return _OrgOutcome(access.name, total, None)


def _end_at_once(database: "DatabaseExecutor") -> None:
    """Let Ctrl-C and SIGTERM cancel the reading; a transaction that has begun is finished first."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        database.stop()
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


def _every_alert(database: "Database") -> list[dict[str, Any]]:
    from oktawatch.store.alerts import AlertFilter, list_alerts

    return list_alerts(database, AlertFilter(), limit=_LARGEST_LIST)


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


def _document(request: _Request, outcome: _Outcome) -> dict[str, Any]:
    """Say what became of it as one JSON object."""
    from oktawatch.engine.pipeline import PageResult
    from oktawatch.model.timestamps import to_text

    total = PageResult()
    for one in outcome.orgs:
        total.add(one.result)
    document = {
        "since": to_text(request.since),
        "until": to_text(request.until),
        "notify": request.notify,
        "dry_run": request.dry_run,
        **_counts(total),
        "seconds": round(outcome.seconds, 6),
        "orgs": [{"org": one.org, **_counts(one.result), "error": one.error} for one in outcome.orgs],
    }
    return document | ({"would_alert": outcome.alerts} if request.dry_run else {})


def _counts(result: "PageResult") -> dict[str, Any]:
    return {
        "pages": result.pages,
        "events": result.events,
        "new_events": result.new_events,
        "rejected": result.rejected,
        "matches": result.matches,
        "alerts": result.alert_count,
        "severities": {
            severity.name: count for severity, count in sorted(result.alerts.items(), reverse=True)
        },
        "notifications": result.notifications,
    }


def _print(document: dict[str, Any]) -> None:
    rows = document["orgs"]
    if len(rows) > 1:
        rows = [*rows, {"org": "in all", **document}]
    numbers = {
        "PAGES": "pages", "EVENTS": "events", "NEW": "new_events", "REJECTED": "rejected",
        "MATCHES": "matches", "ALERTS": "alerts", "NOTIFICATIONS": "notifications",
    }  # fmt: skip
    if document["dry_run"]:
        print_alerts(document["would_alert"])
        print()
    print_table(
        ("ORG", *numbers, "BY SEVERITY"),
        [(row["org"], *(row[name] for name in numbers.values()), _severities(row)) for row in rows],
        numbers=tuple(numbers),
    )
    rate = document["events"] / max(document["seconds"], 0.001)
    note(f"{document['seconds']:.1f} s, {rate:,.0f} events/s")
    if document["dry_run"]:
        note("a dry run: nothing was written")
    elif document["notifications"]:
        note(f"{document['notifications']} notifications wait in the outbox: 'oktawatch run' sends them")


def _severities(row: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in row["severities"].items())
