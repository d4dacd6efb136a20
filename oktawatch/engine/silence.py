"""The silence alarm: a detector that nobody hears of looks just like a quiet night.

An org that no poll has read for `silence.after` is an alarm, told once to every notifier that has to do
with the org, and once more when it is over. That an alarm stands is kept in the database, so a restart
neither repeats it nor forgets to take it back.

After a start an org has the time of one poll before it is judged: what was not polled while nothing ran
is caught up with, and is no alarm.

A notifier that can't deliver is an alarm for the others: most of that is told with the attempt that fails
(`store.notifiers`), and here what has lasted since one, when the next is long in coming.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.routing import Route
from oktawatch.store.alarms import Alarm, change_alarms, standing
from oktawatch.store.notifiers import Neighbours, tell_lasting
from oktawatch.store.org_liveness import OrgLiveness, read_liveness

_log: Any = structlog.get_logger(__name__)

_ORG = "org"
_NONE: Mapping[str, Neighbours] = {}


class SilenceWatch:
    """Looks after some orgs."""

    def __init__(
        self,
        orgs: dict[str, Sequence[str]],
        routes: Sequence[Route],
        database: DatabaseExecutor,
        *,
        after: timedelta,
        notifiers: Mapping[str, Neighbours] = _NONE,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``orgs``: their tags by name. ``after``: how long one may be silent. ``notifiers``: who hears of each."""
        self._orgs = orgs
        self._routes = routes
        self._database = database
        self._after = after
        self._notifiers = tuple(notifiers.items())
        self._now = now
        self._started = now()

    async def check(self) -> bool:
        """Raise and end what is to be; tell whether anything was told. Raises StoreError."""
        now = self._now()
        orgs = await self._check_orgs(now)
        return await self._check_notifiers(now) or orgs

    async def _check_notifiers(self, now: datetime) -> bool:
        if now - self._started <= self._after:
            return False  # an attempt has its time, too
        failing = await self._database.run(tell_lasting, self._notifiers, now=now)
        for name in failing:
            _log.error("notifier_failing", notifier=name)
        return bool(failing)

    async def _check_orgs(self, now: datetime) -> bool:
        heard = await self._database.run(read_liveness)
        stand = {name for kind, name in await self._database.run(standing) if kind == _ORG}
        silent = {
            org
            for org in self._orgs
            if org in heard and org not in stand and self._is_silent(heard[org], now)
        }
        over = {org for org in stand if org not in self._orgs or self._is_well(heard.get(org), now)}
        if not silent and not over:
            return False
        raised, ended = await self._database.run(
            change_alarms,
            raise_=[self._alarm(heard[org]) for org in sorted(silent)],
            end=[self._end(org) for org in sorted(over)],
            now=now,
        )
        for alarm in raised:
            _log.error("org_silent", org=alarm.subject[1], since=alarm.since, **alarm.details)
        for alarm in ended:
            _log.info("org_heard_again", org=alarm.subject[1])
        return bool(raised or ended)

    def _is_silent(self, heard: OrgLiveness, now: datetime) -> bool:
        polled = heard.polled_at is not None and heard.polled_at >= self._started
        return now - heard.success_at > self._after and (polled or now - self._started > self._after)

    def _is_well(self, heard: OrgLiveness | None, now: datetime) -> bool:
        return heard is not None and now - heard.success_at <= self._after

    def _alarm(self, heard: OrgLiveness) -> Alarm:
        error = heard.error or "polls don't come to an end"
        return Alarm(
            subject=(_ORG, heard.org),
            tell=self._who(heard.org),
            since=heard.success_at,
            details={"error": error},
        )

    def _end(self, org: str) -> Alarm:
        """End an alarm; of an org that is watched no more nobody needs to hear."""
        return Alarm(subject=(_ORG, org), tell=self._who(org) if org in self._orgs else ())

    def _who(self, org: str) -> tuple[str, ...]:
        return tuple(route.notifier for route in self._routes if route.watches(org, self._orgs[org]))
