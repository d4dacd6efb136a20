"""Live polling: one round reads an org's stream from its cursor until it has caught up.

Okta's own cursor is the cursor, stored with the filter that is frozen into it. Where there is none,
or it belongs to another filter, or Okta takes it no more, polling starts anew at a point in time a
little before the newest event it has brought: what comes twice finds itself recorded.

The next page is fetched while this one is processed.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from msgspec import Struct

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.okta_retention import clamp_to_okta_retention
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.model.cursor import Cursor
from oktawatch.store.cursors import move_cursor, read_cursor
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.errors import RequestRefusedError, TimedOutError, UnavailableError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import named_limit, polling_query

_log: Any = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=5)
"""How far before the newest event polling starts anew. Events are persisted a little out of order."""
_STRUGGLES = 5
"""After so many failures of Okta's in a row smaller pages are asked for: a query may be too much for it."""
_SMALLER = 4  # times
_AHEAD = timedelta(minutes=1)
"""From then on this machine's clock is too far ahead of Okta's to say where to begin."""
_SMALLEST_PAGE = 10


class CaughtUp(Struct, frozen=True, kw_only=True):
    """How far polling has come, as a sweep needs to know."""

    date: datetime
    """Okta's own clock when a poll caught up."""
    began_at: datetime
    """From when on the org has been polled with this filter."""


class Poller:
    """Polls one org. One round at a time."""

    def __init__(
        self,
        source: PageSource,
        database: DatabaseExecutor,
        watch: Watch,
        *,
        page_size: int,
        initial_lookback: timedelta,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``initial_lookback``: where an org starts that was never polled."""
        self._source = source
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._initial_lookback = initial_lookback
        self._now = now or database.now
        self._clock = clock
        self._struggles = 0
        self.caught_up: CaughtUp | None = None
        """Where the last round ended; None unless it caught up."""

    async def round(self, *, deadline: float | None = None) -> PageResult:
        """Read from the cursor until caught up, or until ``deadline``; the next round continues there.

        ``deadline`` is a time of the monotonic clock, in seconds.
        Raises SystemLogError or StoreError; what was committed until then stays.
        """
        self.caught_up = None
        total = PageResult()
        cursor = await self._database.run(read_cursor, self._watch.org)
        try:
            await self._read(cursor, total, deadline)
        except UnavailableError as error:
            if isinstance(error, TimedOutError) or error.status is not None:
                self._struggles += 1
            raise
        self._struggles = 0
        return total

    async def _read(self, cursor: Cursor | None, total: PageResult, deadline: float | None) -> None:
        page, began_at = await self._first_page(cursor)
        while True:
            last = page.caught_up or (deadline is not None and self._clock() >= deadline)
            ahead = None if last else asyncio.create_task(self._source.page(page.resume))
            try:
                cursor = await self._commit(page, cursor, total, began_at=began_at)
                if ahead is None:
                    return
                page = await ahead
            except RequestRefusedError as error:
                page = await self._restart(cursor, error)
            finally:
                if ahead is not None:
                    await _abandon(ahead)

    async def _first_page(self, cursor: Cursor | None) -> tuple[Page, datetime]:
        """Fetch where reading goes on; give with it from when on this filter has been read."""
        if cursor is None:
            return await self._very_first_page()
        if reason := self._outdated(cursor):
            _log.warning("cursor_restarted", org=self._watch.org, reason=reason)
            since = self._anew(cursor)
            same = cursor.filter == self._watch.rules.filter
            return await self._source.page(self._from(since)), cursor.began_at if same else since
        try:
            return await self._source.page(cursor.query), cursor.began_at
        except RequestRefusedError as error:
            return await self._restart(cursor, error), cursor.began_at

    async def _very_first_page(self) -> tuple[Page, datetime]:
        """Begin to watch an org: a lookback before now, which is Okta's now when this machine's clock is ahead."""
        now = self._now()
        while True:
            since = clamp_to_okta_retention(now - self._initial_lookback, now)
            page = await self._source.page(self._from(since))
            if page.date is None or now - page.date < _AHEAD:
                return page, since
            _log.warning("clock_ahead", org=self._watch.org, now=now, okta=page.date)
            now = page.date

    def _outdated(self, cursor: Cursor) -> str | None:
        """Say why a cursor can't be used as it is: what its link has frozen is not what is wanted."""
        if cursor.filter != self._watch.rules.filter:
            return "the rules that are on need another filter"
        if named_limit(cursor.query) not in {None, self._limit}:
            return f"pages of {self._limit} events are wanted"
        return None

    @property
    def _limit(self) -> int:
        if self._struggles < _STRUGGLES:
            return self._page_size
        return min(self._page_size, max(self._page_size // _SMALLER, _SMALLEST_PAGE))

    async def _restart(self, cursor: Cursor | None, error: RequestRefusedError) -> Page:
        """Go on without a cursor that Okta refuses, after one more try."""
        if cursor is None:
            raise error
        with suppress(RequestRefusedError):
            return await self._source.page(cursor.query)
        _log.warning("cursor_restarted", org=self._watch.org, reason=str(error))
        return await self._source.page(self._from(self._anew(cursor, error.date)))

    def _anew(self, cursor: Cursor, servers_now: datetime | None = None) -> datetime:
        """Say from when on to read again, so that nothing is lost that the cursor stood for."""
        now = servers_now or self._now()
        wanted = min(cursor.last_published or cursor.began_at, now) - OVERLAP
        since = clamp_to_okta_retention(wanted, now)
        if since > wanted:
            _log.error("events_out_of_reach", org=self._watch.org, since=wanted, kept_since=since)
        return since

    def _from(self, since: datetime) -> str:
        return polling_query(since=since, filter=self._watch.rules.filter, limit=self._limit)

    async def _commit(
        self, page: Page, cursor: Cursor | None, total: PageResult, *, began_at: datetime
    ) -> Cursor:
        now = self._now()
        to = Cursor(
            filter=self._watch.rules.filter,
            query=page.resume,
            began_at=began_at,
            last_published=_newest(cursor, page),
            last_caught_up_at=now if page.caught_up else (cursor.last_caught_up_at if cursor else None),
        )
        result = await self._database.run(
            commit_page, self._watch, page, telling=True, advance=partial(_advance, cursor, to), now=now
        )
        total.add(result)
        if page.caught_up and page.date is not None:
            self.caught_up = CaughtUp(date=page.date, began_at=began_at)
        log = _log.info if result.new_events or result.rejected else _log.debug
        log(
            "page_committed",
            org=self._watch.org,
            events=result.events,
            new=result.new_events,
            matches=result.matches,
            alerts=result.alert_count,
        )
        return to


def _advance(read: Cursor | None, to: Cursor, transaction: PageTransaction, _result: PageResult) -> None:
    move_cursor(transaction, read, to)


def _newest(cursor: Cursor | None, page: Page) -> datetime | None:
    """Move last_published on, never beyond Okta's own clock: an event dated 2099 must not poison it."""
    before = cursor.last_published if cursor else None
    if page.newest is None or page.date is None:
        return before
    reached = min(page.newest, page.date)
    return reached if before is None else max(before, reached)


async def _abandon(task: "asyncio.Task[Page]") -> None:
    """End a request that nobody waits for, without a trace of what became of it."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
