"""Backfill several orgs at once: the command `oktawatch backfill`."""

import asyncio
import time
from datetime import datetime
from functools import partial
from typing import Protocol

from msgspec import Struct

from oktawatch.engine.backfill import Backfiller, Progress
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult, Watch
from oktawatch.service.app import Application
from oktawatch.service.connections import connections
from oktawatch.service.database import prepare_database
from oktawatch.service.delivery import deliver_once, open_notifiers
from oktawatch.service.watching import watch_orgs
from oktawatch.store.errors import StoreError
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.priority import PagesAt, Priority

_ORGS_AT_ONCE = 8  # each has its own rate limit, and holds two pages in memory


class ShowProgress(Protocol):
    """Shows the progress of a backfill."""

    def reached(self, progress: Progress, /) -> None:
        """Show how far an org has been read."""

    def waits(self, org: str, seconds: float, /) -> None:
        """Show that an org's next request waits for its rate limit."""


class OrgBackfill(Struct, frozen=True, kw_only=True):
    """The outcome of one org's backfill."""

    org: str
    result: PageResult
    """The counts, up to the failure if there was one."""
    error: str | None = None
    """One line for people, or None on success."""


class BackfillResult(Struct, kw_only=True):
    """The result for all orgs."""

    orgs: list[OrgBackfill]
    seconds: float
    """The duration from the first request to the last commit."""
    delivered: int = 0
    """The number of delivered messages."""
    failed_deliveries: int = 0
    """The number of failed attempts to deliver, and of notifiers whose whole round failed."""


async def backfill(
    app: Application,
    database: DatabaseExecutor,
    *,
    command: str,
    since: datetime,
    until: datetime,
    notify: bool,
    progress: ShowProgress,
) -> BackfillResult:
    """Read the events published from ``since`` to ``until``. An org that fails does not stop the others.

    ``command`` is the command line: the same one continues an interrupted backfill (see `Backfiller.run`). ``notify``
    sends notifications. Raises StoreError or ConfigError if the database can't be prepared.
    """
    await prepare_database(app, database)
    slots = asyncio.Semaphore(_ORGS_AT_ONCE)
    async with connections(app.tls_context) as connect, watch_orgs(app, database) as watches:

        async def read(org: str, watch: Watch) -> OrgBackfill:
            budget = RateBudget(app.rate_limit_share, on_wait=partial(progress.waits, org))
            client = connect(app.accesses[org], budget=budget)
            recorder = _ProgressRecorder(progress)
            backfiller = Backfiller(
                PagesAt(client, Priority.BACKFILL),
                database,
                watch,
                page_size=app.page_size,
                progress=recorder,
            )
            async with slots:
                try:
                    await backfiller.run(command=command, since=since, until=until, notify=notify)
                except (SystemLogError, StoreError) as error:
                    return OrgBackfill(org=org, result=recorder.total, error=str(error))
                return OrgBackfill(org=org, result=recorder.total)

        began_s = time.perf_counter()
        orgs = await asyncio.gather(*(read(org, watch) for org, watch in watches.items()))
        result = BackfillResult(orgs=orgs, seconds=time.perf_counter() - began_s)
    if notify:
        await _deliver(app, database, result)
    return result


async def _deliver(app: Application, database: DatabaseExecutor, result: BackfillResult) -> None:
    """Send the due notifications. A daemon may do this at the same time: each message is claimed by one process."""
    async with open_notifiers(app, database) as notifiers:
        round_result = await deliver_once(notifiers)
    result.delivered, result.failed_deliveries = round_result.delivered, round_result.failed


class _ProgressRecorder:
    """Shows the progress of a backfill, and keeps the counts, in case the backfill fails."""

    def __init__(self, show: ShowProgress) -> None:
        self._show = show
        self.total = PageResult()

    def __call__(self, progress: Progress) -> None:
        self.total = progress.total
        self._show.reached(progress)
