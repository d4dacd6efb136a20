"""What the daemon knows about its own health, for `/metrics`, `/healthz` and `/readyz`.

Reading the database can take long, or forever while it is locked or its server is silent. So a request waits only
for a limited time, concurrent requests share one read, and its result is reused for a second. `/healthz` reads nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.health import OrgHealth, judge
from oktawatch.engine.tasks import abandon
from oktawatch.service.app import Application
from oktawatch.service.counters import Counters
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.store.errors import StoreError
from oktawatch.store.gauges import Gauges, read_gauges

_READ_WITHIN_S = 2.0
_FRESH_S = 1.0
"""The result of a read is reused for this time, so that frequent requests don't read the database more often."""


class Problem(Struct, frozen=True, kw_only=True):
    """A reason why the daemon is not healthy or not ready."""

    what: str
    """``poll``, ``start``, ``database`` or ``org``."""
    name: str = ""
    """The org, or empty if the problem is not about one."""
    problem: str
    """One line for people."""


class RunningJobs(Protocol):
    """The part of `service.jobs.Jobs` that is used here."""

    def holds(self, org: str) -> bool:
        """Return whether this process polls the org."""

    def stuck(self) -> list[str]:
        """Return the orgs whose polls don't end."""

    def rate_limits_remaining(self) -> Mapping[str, int]:
        """Return the number of remaining requests that Okta last reported, by org."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """The numbers of one scrape, without the counters."""

    now: datetime
    orgs: list[str]
    """The configured orgs."""
    notifiers: list[str]
    held: set[str]
    """The orgs that this process polls."""
    rate_limits_remaining: Mapping[str, int]
    gauges: Gauges | None
    """None if the database could not be read in time."""
    health: Mapping[str, OrgHealth]
    """The health of each configured org that has a row in the database."""
    evidence: Mapping[str, datetime]
    """When each source of evidence was last known to be current."""
    database_works: bool
    """Whether the database could be read in time, and there is no trouble (see `DatabaseTrouble`)."""


class Vitals:
    """The daemon's own health. One instance outlives reloads."""

    def __init__(
        self,
        database: DatabaseExecutor,
        trouble: DatabaseTrouble,
        *,
        read_within_s: float = _READ_WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self._database = database
        self._trouble = trouble
        self._read_within_s = read_within_s
        self._clock = clock
        self._app: Application | None = None
        self._jobs: RunningJobs | None = None
        self._reading: asyncio.Task[Gauges] | None = None
        self._read_at = 0.0

    def watch(self, app: Application, jobs: RunningJobs) -> None:
        """Report about these jobs from now on."""
        self._app, self._jobs = app, jobs

    async def close(self) -> None:
        """Cancel a running read. The database must have been stopped."""
        if self._reading is not None:
            await abandon(self._reading)

    def unhealthy(self) -> list[Problem]:
        """Return the reasons to restart the process. Doesn't read the database, so it never waits."""
        stuck = self._jobs.stuck() if self._jobs is not None else []
        return [Problem(what="poll", name=org, problem="it should have ended long ago") for org in stuck]

    async def unready(self) -> list[Problem]:
        """Return the reasons why the daemon isn't ready: problems of the database, or of orgs that this process polls.

        A replica that polls no org returns the problems of all orgs.
        """
        problems = []
        if self._trouble.failures:
            problems.append(Problem(what="database", problem=self._trouble.error))
        if self._app is None or self._jobs is None:
            return [Problem(what="start", problem="the daemon is starting"), *problems]
        try:
            gauges = await self._gauges()
        except StoreError as error:
            return problems or [Problem(what="database", problem=str(error))]
        orgs = self._app.orgs
        # A replica that polls no org may soon have to poll any of them.
        for org in list(filter(self._jobs.holds, orgs)) or orgs:
            health = self._judge(gauges, org)
            if not health.good:
                problems += [Problem(what="org", name=org, problem=text) for text in health.problems]
        return problems

    async def snapshot(self) -> Snapshot:
        """Return the numbers of a scrape. If the database doesn't answer in time, its numbers are missing."""
        app, jobs = self._app, self._jobs
        gauges: Gauges | None = None
        with suppress(StoreError):
            gauges = await self._gauges()
        orgs = [] if app is None else app.orgs
        known = gauges.orgs if gauges is not None else {}
        return Snapshot(
            now=self._database.now(),
            orgs=orgs,
            notifiers=[] if app is None else [notifier.name for notifier in app.notifiers],
            held={org for org in orgs if jobs is not None and jobs.holds(org)},
            rate_limits_remaining={} if jobs is None else jobs.rate_limits_remaining(),
            gauges=gauges,
            health={org: self._judge(gauges, org) for org in orgs if gauges is not None and org in known},
            evidence={} if app is None else await asyncio.to_thread(app.evidence_sources.checked_at),
            database_works=gauges is not None and not self._trouble.failures,
        )

    def _judge(self, gauges: Gauges, org: str) -> OrgHealth:
        interval = timedelta() if self._app is None else self._app.poll_interval
        return judge(gauges.orgs.get(org), interval=interval, now=self._database.now())

    async def _gauges(self) -> Gauges:
        """Read the database, or share another request's read. Raises StoreError, also if there is no answer in time."""
        if self._reading is None or (self._reading.done() and self._clock() - self._read_at > _FRESH_S):
            self._reading = asyncio.create_task(self._database.run(read_gauges))
            self._read_at = self._clock()
        reading = self._reading
        done, _ = await asyncio.wait([reading], timeout=self._read_within_s)
        if not done or reading.cancelled():
            place = self._database.database.place
            raise StoreError(
                f"the database is busy or silent ({place}): no answer within {self._read_within_s:g} s"
            )
        return reading.result()
