"""Backfill: a bounded read of an org's past events through the pipeline of polling.

Repeating the command continues an interrupted backfill that began less than a day ago. A relative time such as ``7d`` still refers
to the time of the first start. By default, a backfill sends no notifications. If the daemon later reads the events of a backfilled
alert, the daemon sends the notification.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import BoundedRead
from oktawatch.engine.okta_retention import clamp_to_okta_retention
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.engine.tasks import abandon
from oktawatch.model.cursor import Backfill
from oktawatch.model.timestamps import to_text
from oktawatch.store.backfills import begin_backfill, move_backfill
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import bounded_query

_log: Any = structlog.get_logger(__name__)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a backfill has come."""

    org: str
    since: datetime
    until: datetime
    reached: datetime
    """The event time up to which events have been read."""
    events: int
    """The number of usable events read, including those of the interrupted runs that this run continues."""
    total: PageResult
    """The counts of this run so far; the object continues to change."""


class Backfiller:
    """Runs one backfill of an org."""

    def __init__(
        self,
        source: PageSource,
        database: DatabaseExecutor,
        watch: Watch,
        *,
        page_size: int,
        now: Callable[[], datetime] | None = None,
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self._source = source
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._now = now or database.now
        self._progress = progress

    async def run(self, *, command: str, since: datetime, until: datetime, notify: bool) -> PageResult:
        """Read the events published from ``since`` to ``until``; return the counts of this run.

        ``command`` is the command line. An unfinished backfill with the same command line, filter and ``notify`` that
        began within a day is continued with its own time range. Okta's retention limits ``since``.
        Raises SystemLogError or StoreError. Pages that were already committed remain.
        """
        now = self._now()
        kept_since = clamp_to_okta_retention(since, now)
        if since < kept_since:
            _log.warning(
                "backfill_clamped", org=self._watch.org, since=to_text(since), kept_since=to_text(kept_since)
            )
            since = kept_since
        query = bounded_query(
            since=since, until=max(since, until), filter=self._watch.rules.filter, limit=self._page_size
        )
        backfill = await self._database.run(
            begin_backfill, self._watch.org, command=command,
            filter=self._watch.rules.filter, since=since, until=until, notify=notify,
            query=query, now=now,
        )  # fmt: skip
        if backfill.query != query:
            _log.info(
                "backfill_taken_up",
                org=self._watch.org,
                since=to_text(backfill.since),
                events=backfill.events,
            )
        total = PageResult()
        await self._read(backfill, total, notify=notify)
        return total

    async def _read(self, backfill: Backfill, total: PageResult, *, notify: bool) -> None:
        reading = BoundedRead(
            self._source,
            self._watch.org,
            filter=self._watch.rules.filter,
            since=backfill.since,
            until=backfill.until,
            page_size=self._page_size,
        )
        reached = backfill.since
        ahead = asyncio.create_task(self._source.page(backfill.query))
        try:
            while True:
                page = await ahead
                missing = await reading.check(page)
                if page.next is not None:
                    ahead = asyncio.create_task(self._source.page(page.next))
                finished = page.next is None and missing is None
                backfill = await self._commit(page, backfill, total, notify=notify, finished=finished)
                # A page without usable events has no newest one.
                reached = max(reached, backfill.until if finished else page.newest or reached)
                self._report(backfill, min(reached, backfill.until), total)
                if missing is not None:
                    raise missing
                if finished:
                    return
        finally:
            await abandon(ahead)

    async def _commit(
        self, page: Page, backfill: Backfill, total: PageResult, *, notify: bool, finished: bool
    ) -> Backfill:
        moved = [backfill]

        def advance(transaction: PageTransaction, result: PageResult) -> None:
            advanced = msgspec.structs.replace(
                backfill,
                query=page.resume,
                pages=backfill.pages + 1,
                events=backfill.events + result.events,
                new_events=backfill.new_events + result.new_events,
                matches=backfill.matches + result.matches,
                alerts=backfill.alerts + result.alert_count,
            )
            move_backfill(transaction, backfill, advanced, finished=finished)
            moved[0] = advanced

        result = await self._database.run(
            commit_page, self._watch, page, notify=notify, advance=advance, now=self._now()
        )
        total.add(result)
        return moved[0]

    def _report(self, backfill: Backfill, reached: datetime, total: PageResult) -> None:
        self._progress(
            Progress(
                org=backfill.org,
                since=backfill.since,
                until=backfill.until,
                reached=reached,
                events=backfill.events,
                total=total,
            )
        )
