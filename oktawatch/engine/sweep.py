"""The sweep: a bounded read of recent events, to find events that polling missed.

Okta promises that polling returns every event. A sweep verifies this: it queries the same time range by
``published`` and feeds the events to the same pipeline. A new event is counted as late, and raises alerts like any
other. Sweeps are expected to find no new events.

A sweep covers only the time that polling with the current filter has covered. It excludes the last minutes, because
polling may still return events from them. A sweep starts one window before the end of the last
completed sweep, even if that was long ago because sweeps failed or the org could not catch up.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import BoundedRead
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import Committed, PageResult, Watch, commit_page, ignore_page
from oktawatch.engine.poll import CaughtUp
from oktawatch.store.cursors import mark_swept, read_swept_until
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.queries import bounded_query

_log: Any = structlog.get_logger(__name__)

SETTLED = timedelta(minutes=5)
"""Sweeps leave events younger than this to polling. Okta's usual delays are shorter."""


class Sweeper:
    """Sweeps one org. Run one round at a time."""

    def __init__(
        self,
        source: PageSource,
        database: DatabaseExecutor,
        watch: Watch,
        *,
        page_size: int,
        window: timedelta,
        committed: Committed = ignore_page,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``window`` is how far before the end of the last sweep a round starts to read.

        ``committed`` is called with the result of each page, even if the round fails later.
        """
        self._source = source
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._window = window
        self._on_committed = committed
        self._now = now or database.now

    async def round(self, polled: CaughtUp) -> PageResult:
        """Read until ``SETTLED`` before the time at which a poll caught up. ``new_events`` counts the missed events.

        Raises SystemLogError or StoreError. Pages that were committed before remain. The next round reads all pages
        again.
        """
        total = PageResult()
        org, rules_filter = self._watch.org, self._watch.rules.filter
        until = polled.date - SETTLED
        swept_until = await self._database.run(read_swept_until, org)
        since = max(min(until, swept_until or until) - self._window, polled.began_at)
        if since >= until:
            return total
        query: str | None = bounded_query(
            since=since, until=until, filter=rules_filter, limit=self._page_size
        )
        read = BoundedRead(
            self._source, org, filter=rules_filter, since=since, until=until, page_size=self._page_size
        )
        while query is not None:
            page = await self._source.page(query)
            missing = await read.check(page)
            result = await self._database.run(
                commit_page, self._watch, page, notify=True, advance=_count_late, now=self._now()
            )
            total.add(result)
            self._on_committed(result)
            if missing is not None:
                raise missing
            query = page.next
        await self._database.run(mark_swept, org, until)
        log = _log.warning if total.new_events else _log.info
        log("sweep_finished", org=org, events=total.events, late=total.new_events)
        return total


def _count_late(transaction: PageTransaction, result: PageResult) -> None:
    if result.new_events:
        transaction.count_late(result.new_events)
