"""The sweep: a bounded read of the recent past, for events that polling missed.

Okta promises that polling brings every event. A sweep verifies that: it asks for the same time range by
``published`` and feeds it to the same pipeline. An event that is new there came late; it is counted as late, and
alerts like any other. Expect sweeps to find nothing.

A sweep covers only what polling has covered: not the time before polling with this filter began, and not the
last minutes, which polling may still bring. After failed sweeps, or hours in which an org could not catch up,
the next sweep reaches back to where the last one ended.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.follow import BoundedRead
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.engine.poll import CaughtUp
from oktawatch.store.cursors import mark_swept, read_swept_until
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.queries import bounded_query

_log: Any = structlog.get_logger(__name__)

SETTLED = timedelta(minutes=5)
"""More recent events are left to polling: Okta's own delays are shorter."""


class Sweeper:
    """Sweeps one org. One round at a time."""

    def __init__(
        self,
        source: PageSource,
        database: DatabaseExecutor,
        watch: Watch,
        *,
        page_size: int,
        window: timedelta,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``window``: the time range that a round reads."""
        self._source = source
        self._database = database
        self._watch = watch
        self._page_size = page_size
        self._window = window
        self._now = now or database.now

    async def round(self, polled: CaughtUp) -> PageResult:
        """Read the window before the time at which a poll caught up; ``new_events`` are those it missed.

        Raises SystemLogError or StoreError. What was committed until then stays, and the next round
        reads the rest as far as its window reaches.
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
        read = BoundedRead(self._source, org, filter=rules_filter, until=until, page_size=self._page_size)
        while query is not None:
            page = await self._source.page(query)
            missing = await read.check(page)
            total.add(
                await self._database.run(
                    commit_page, self._watch, page, notify=True, advance=_count_late, now=self._now()
                )
            )
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
