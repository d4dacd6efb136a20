"""Backfills of several orgs at once: what `oktawatch backfill` does."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from oktawatch.config import OrgSettings, Settings
from oktawatch.detection.registry import RuleSet
from oktawatch.engine.assembly import (
    make_access,
    make_channels,
    make_rules,
    make_tls_context,
    make_watch,
    open_notifiers,
    prepare_database,
)
from oktawatch.engine.backfill import Backfiller, Progress
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import PageResult, Watch
from oktawatch.service.delivery import Delivered, deliver_once
from oktawatch.service.rule_watch import watching_rules
from oktawatch.store.errors import StoreError
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.priority import Priority

_AT_ONCE = 8  # orgs: each has its own rate limit, and holds two pages in memory

Show = Callable[[Progress], None]


class OrgPast(Struct, frozen=True, kw_only=True):
    """What became of one org's backfill."""

    org: str
    result: PageResult
    """What was brought about; where it failed, until then."""
    error: str | None = None
    """One line for people; None when all was read."""


class PastResult(Struct, kw_only=True):
    """The result for all of them."""

    orgs: list[OrgPast]
    seconds: float
    """From before the first request to after the last commit."""
    delivered: int = 0
    """Messages that notifiers took."""
    failed_deliveries: int = 0
    """Attempts that failed."""


class Past:
    """The past of some orgs, to be read once. One that fails stops no other."""

    def __init__(self, settings: Settings, orgs: Sequence[OrgSettings], rules: RuleSet | None = None) -> None:
        """Check all that can be wrong with the configuration; raise ConfigError before anything is touched.

        ``rules``: to read with, by default those that are on.
        """
        rules = make_rules(settings) if rules is None else rules
        self._settings = settings
        self._rules = rules
        self._channels = make_channels(settings)
        self._trust = make_tls_context(settings)
        self._orgs = [(make_access(settings, org), make_watch(settings, org, rules)) for org in orgs]

    async def read(
        self,
        database: DatabaseExecutor,
        *,
        command: str,
        since: datetime,
        until: datetime,
        telling: bool,
        progress: Show,
    ) -> PastResult:
        """Read what was published from ``since`` to ``until``; tell the notifiers if ``telling``.

        ``command`` is what was typed: the same text within a day takes up where it was interrupted.
        Raises StoreError when the database can't even be made ready.
        """
        # Half a second and 65 MB: counted as start-up, not as reading.
        from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
        from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

        await prepare_database(self._settings, database)
        turn = asyncio.Semaphore(_AT_ONCE)
        watching = watching_rules(self._settings, self._rules, database)
        async with open_session(self._trust) as session, watching as watchdog:

            async def backfill(access: OrgAccess, watch: Watch) -> OrgPast:
                async with turn:
                    reached = _Reached(progress)
                    budget = RateBudget(self._settings.poll.rate_limit_share)
                    backfiller = Backfiller(
                        LogClient(access, session=session, budget=budget).at(Priority.BACKFILL),
                        database,
                        msgspec.structs.replace(watch, watchdog=watchdog),
                        page_size=self._settings.poll.page_size,
                        progress=reached,
                    )
                    try:
                        await backfiller.run(command=command, since=since, until=until, telling=telling)
                    except (SystemLogError, StoreError) as error:
                        return OrgPast(org=access.name, result=reached.total, error=str(error))
                    return OrgPast(org=access.name, result=reached.total)

            began = time.perf_counter()
            orgs = await asyncio.gather(*(backfill(access, watch) for access, watch in self._orgs))
            seconds = time.perf_counter() - began
        result = PastResult(orgs=orgs, seconds=seconds)
        if telling:
            delivered = await self._deliver(database)
            result.delivered, result.failed_deliveries = delivered.taken, delivered.failed
        return result

    async def _deliver(self, database: DatabaseExecutor) -> Delivered:
        """Send what is due. A daemon may do so at the same time: each message is claimed by one of them."""
        async with open_notifiers(self._settings, self._rules, database, self._channels) as notifiers:
            return await deliver_once(notifiers)


class _Reached:
    """Keeps what a backfill has brought about, for when it fails."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.total = PageResult()

    def __call__(self, progress: Progress) -> None:
        self.total = progress.total
        self._show(progress)
