"""Live polling: one round reads an org's stream from its cursor until it has caught up.

The cursor is Okta's own, stored with the filter that it contains. If the filter or page size has changed, or Okta
refuses the cursor, polling restarts at a time before which no event is missing (``engine.restart_point``). Events
that are read twice are recorded once.

A polling stream never ends. So a page without a next link is committed, but doesn't move an existing cursor, and the
round fails.

The next page is fetched while the current one is processed.
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
from oktawatch.engine.follow import NoProgressError, ProgressGuard, is_full, missing_next
from oktawatch.engine.okta_retention import clamp_to_okta_retention
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import Committed, PageResult, Watch, commit_page, ignore_page
from oktawatch.engine.restart_point import RestartPoint
from oktawatch.engine.tasks import abandon
from oktawatch.model.cursor import Cursor
from oktawatch.store.cursors import count_elements, move_cursor, read_cursor
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.errors import RequestRefusedError, TimedOutError, UnavailableError
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.queries import named_limit, polling_query

_log: Any = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=5)
"""Polling restarts this long before the restart point, because events appear slightly out of order."""
_SMALLER_PAGES_AFTER = 5
"""The number of consecutive failures of Okta after which smaller pages are requested, because the query may be too large."""
_SMALLER_FACTOR = 4
_AHEAD = timedelta(minutes=1)
"""If the database's clock is ahead of Okta's by this time or more, Okta's clock decides where to start."""
_SMALLEST_PAGE = 10  # the smallest page size that is requested after failures
_RESTARTS = 3
"""Maximum number of restarts in a round. If Okta refuses the cursors of new streams too, restarting doesn't help."""


class CaughtUp(Struct, frozen=True, kw_only=True):
    """The time at which polling caught up, for the next sweep."""

    date: datetime
    """Okta's own clock when a poll caught up."""
    began_at: datetime
    """The time since which the org has been polled with this filter."""


class _Stream(Struct, frozen=True, kw_only=True):
    """The state of the stream that is being read, beside its cursor."""

    page_size: int | None
    """The limit of its first request."""
    began_at: datetime
    restart: RestartPoint


class _Fetched(Struct, frozen=True, kw_only=True):
    """A fetched page and its stream."""

    page: Page
    stream: _Stream


class Poller:
    """Polls one org. Run one round at a time."""

    def __init__(
        self,
        source: PageSource,
        database: DatabaseExecutor,
        watch: Watch,
        *,
        page_size: int,
        initial_lookback: timedelta,
        committed: Committed = ignore_page,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``initial_lookback`` is how far back the first poll of an org starts.

        ``committed`` is called with the result of each page, even if the round fails later.
        """
        self._source = source
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._initial_lookback = initial_lookback
        self._on_committed = committed
        self._now = now or database.now
        self._clock = clock
        self._okta_failures = 0
        self._guard = ProgressGuard(watch.org)
        self._last_restart_point: tuple[str, RestartPoint] | None = None
        """The query and the restart point of this poller's last committed cursor."""
        self.caught_up: CaughtUp | None = None
        """When the last round caught up. None if it did not, is still running, or Okta sent no ``Date``."""

    async def round(self, *, deadline: float | None = None) -> PageResult:
        """Read from the cursor until caught up, or until ``deadline``. The next round continues where this one stopped.

        ``deadline`` is a time of the monotonic clock, in seconds.
        Raises SystemLogError or StoreError; pages that were committed before remain.
        """
        self.caught_up = None
        total = PageResult()
        cursor = await self._database.run(read_cursor, self._watch.org)
        try:
            await self._read(cursor, total, deadline)
        except UnavailableError as error:
            if isinstance(error, TimedOutError) or error.status is not None:
                self._okta_failures += 1
            raise
        self._okta_failures = 0
        return total

    async def _read(self, cursor: Cursor | None, total: PageResult, deadline: float | None) -> None:
        restarts = 0
        fetched = await self._first_page(cursor)
        while True:
            page = fetched.page
            await self._check_progress(fetched)
            last = page.caught_up or page.next is None or (deadline is not None and self._clock() >= deadline)
            prefetch = None if last else asyncio.create_task(self._source.page(page.resume))
            try:
                cursor = await self._commit(fetched, cursor, total)
                if page.next is None:
                    raise missing_next(self._watch.org, page)
                if prefetch is None:
                    return
                fetched = _Fetched(page=await prefetch, stream=self._stream_of(cursor))
            except RequestRefusedError as error:
                restarts += 1
                if restarts > _RESTARTS:
                    raise
                fetched = await self._retry_refused(cursor, error)
            finally:
                if prefetch is not None:
                    await abandon(prefetch)

    async def _first_page(self, cursor: Cursor | None) -> _Fetched:
        """Fetch the page at the cursor, or the first page of a new stream."""
        if cursor is None:
            return await self._start_new_org()
        if reason := self._outdated(cursor):
            _log.warning("cursor_restarted", org=self._watch.org, reason=reason)
            return await self._start_over(cursor)
        try:
            return _Fetched(page=await self._source.page(cursor.query), stream=self._stream_of(cursor))
        except RequestRefusedError as error:
            return await self._retry_refused(cursor, error)

    async def _start_new_org(self) -> _Fetched:
        """Start polling a new org, ``initial_lookback`` before now."""
        page, since = await self._first_page_since(lambda now: now - self._initial_lookback)
        restart = RestartPoint(at=since)
        return _Fetched(page=page, stream=_Stream(page_size=self._limit, began_at=since, restart=restart))

    async def _first_page_since(
        self, wanted: Callable[[datetime], datetime], okta_now: datetime | None = None
    ) -> tuple[Page, datetime]:
        """Fetch a new stream's first page; return it with its ``since``.

        ``wanted`` computes the start from ``okta_now`` or, if that is unknown, the database's time. If the
        database's clock turns out to be ahead of Okta's, compute the start again from Okta's time. Otherwise, the events
        between the two starts would be missed.
        """
        now = okta_now or self._now()
        while True:
            since = clamp_to_okta_retention(wanted(now), now)
            query = polling_query(since=since, filter=self._watch.rules.filter, limit=self._limit)
            page = await self._source.page(query)
            date = page.date
            if date is None or now - date < _AHEAD or clamp_to_okta_retention(wanted(date), date) >= since:
                return page, since
            _log.warning("clock_ahead", org=self._watch.org, now=now, okta=date)
            now = date

    def _outdated(self, cursor: Cursor) -> str | None:
        """Return why a cursor can't be used: it has another filter or page size. None if it can be used."""
        if cursor.filter != self._watch.rules.filter:
            return "the enabled rules need another filter"
        # Okta's links may contain a smaller limit than requested. Restarting would not change that.
        if (cursor.page_size or named_limit(cursor.query)) not in {None, self._limit}:
            return f"the page size is now {self._limit}"
        return None

    @property
    def _limit(self) -> int:
        if self._okta_failures < _SMALLER_PAGES_AFTER:
            return self._page_size
        return min(self._page_size, max(self._page_size // _SMALLER_FACTOR, _SMALLEST_PAGE))

    async def _retry_refused(self, cursor: Cursor | None, error: RequestRefusedError) -> _Fetched:
        """Request the page at a refused cursor again. If Okta refuses it again, start a new stream.

        Raises ``error`` if there is no cursor yet.
        """
        if cursor is None:
            raise error
        with suppress(RequestRefusedError):
            return _Fetched(page=await self._source.page(cursor.query), stream=self._stream_of(cursor))
        _log.warning("cursor_restarted", org=self._watch.org, reason=str(error))
        return await self._start_over(cursor, error.date)

    async def _start_over(self, cursor: Cursor, okta_now: datetime | None = None) -> _Fetched:
        """Start a new stream ``OVERLAP`` before the cursor's restart point."""
        restart = self._stream_of(cursor).restart.at
        wanted = restart - OVERLAP
        page, since = await self._first_page_since(lambda _now: wanted, okta_now)
        if since > wanted:
            _log.error("events_out_of_reach", org=self._watch.org, since=wanted, kept_since=since)
        self._guard.clear()
        same = cursor.filter == self._watch.rules.filter
        stream = _Stream(
            page_size=self._limit,
            began_at=cursor.began_at if same else since,
            restart=RestartPoint(at=restart),
        )
        return _Fetched(page=page, stream=stream)

    def _stream_of(self, cursor: Cursor) -> _Stream:
        """Return the state of a cursor's stream. If this poller committed the cursor, the restart point is from memory."""
        if self._last_restart_point is not None and self._last_restart_point[0] == cursor.query:
            restart = self._last_restart_point[1]
        else:
            restart = RestartPoint(at=cursor.restart_at or cursor.began_at)
        return _Stream(page_size=cursor.page_size, began_at=cursor.began_at, restart=restart)

    async def _check_progress(self, fetched: _Fetched) -> None:
        """Raise NoProgressError after too many pages without new elements.

        The cursor then stays in place, so later rounds begin with the same page. It passes when the page after it has
        new elements or is the end of the log.
        """
        page, page_size = fetched.page, fetched.stream.page_size or self._page_size
        if _is_tail(page, page_size):
            self._guard.clear()  # a quiet org can return the same tail for days
            return
        try:
            self._guard.check(page)
        except NoProgressError:
            if page.next in {None, page.query}:
                raise
            following = await self._source.page(page.resume)
            if not (self._guard.is_new(following) or _is_tail(following, page_size)):
                raise

    async def _commit(self, fetched: _Fetched, cursor: Cursor | None, total: PageResult) -> Cursor:
        """Commit a page and return the cursor. A page without a next link does not move an existing cursor."""
        page, stream, now = fetched.page, fetched.stream, self._now()
        has_next = page.next is not None
        caught_up = page.caught_up and has_next
        restart = stream.restart.after(page) if has_next else stream.restart
        advanced = Cursor(
            filter=self._watch.rules.filter,
            query=page.resume,
            page_size=stream.page_size,
            began_at=stream.began_at,
            restart_at=restart.at,
            last_published=_newest(cursor, page),
            last_caught_up_at=now if caught_up else (cursor.last_caught_up_at if cursor else None),
        )
        # The first cursor is stored even without a next link: it contains the time since which no event may be missed.
        moved = advanced if has_next or cursor is None else cursor
        advance = _stay if moved is cursor else partial(_advance, cursor, advanced, page)
        result = await self._database.run(
            commit_page, self._watch, page, notify=True, advance=advance, now=now
        )
        total.add(result)
        self._on_committed(result)
        if moved is advanced:
            self._last_restart_point = advanced.query, restart
        if caught_up and page.date is not None:
            self.caught_up = CaughtUp(date=page.date, began_at=stream.began_at)
        log = _log.info if result.new_events or result.rejected else _log.debug
        log(
            "page_committed",
            org=self._watch.org,
            events=result.events,
            new=result.new_events,
            matches=result.matches,
            alerts=result.alert_count,
        )
        return moved


def _advance(
    before: Cursor | None, after: Cursor, page: Page, transaction: PageTransaction, result: PageResult
) -> None:
    progress = page.caught_up or result.new_events > 0 or result.rejected > 0
    move_cursor(transaction, before, after, progress=progress)
    count_elements(transaction, elements=page.count, rejected=len(page.rejected))


def _stay(_transaction: PageTransaction, _result: PageResult) -> None:
    """Leave the cursor where it is."""


def _is_tail(page: Page, page_size: int) -> bool:
    return page.caught_up and not is_full(page, page_size)


def _newest(cursor: Cursor | None, page: Page) -> datetime | None:
    """Return the newest ``published`` so far, limited to Okta's clock: an event can be dated in the future."""
    before = cursor.last_published if cursor else None
    if page.newest is None or page.date is None:
        return before
    reached = min(page.newest, page.date)
    return reached if before is None else max(before, reached)
