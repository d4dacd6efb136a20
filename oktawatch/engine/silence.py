"""The silence alarm: a detector that doesn't work looks just like a quiet night.

An org that no poll has read for `silence.after` raises an alarm. It is sent once to every notifier that is
responsible for the org, and once more when it is over. A raised alarm is a row in the database, so a restart
neither repeats it nor forgets to end it.

After a start an org is judged once it has had the time for a poll: an org that was silent because nothing ran is
polled now, and is no alarm.

The silence of an org is measured by the monotonic clock, from when its last successful poll changed in the
database. Only the age of the poll found at the start depends on the wall clock.

A notifier that can't deliver is an alarm for the others (`notify.escalation`). Most of these are raised with
the attempt that fails. Here they are raised when an attempt failed and the next is far off.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from msgspec import Struct

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.notify.escalation import Escalation
from oktawatch.notify.routing import Route
from oktawatch.store.alarms import Alarm, change_alarms, standing
from oktawatch.store.notifiers import tell_lasting_trouble
from oktawatch.store.org_liveness import OrgLiveness, read_liveness

_log: Any = structlog.get_logger(__name__)

_ORG = "org"
_EVENTS = "events"
_CLOCK_TOLERANCE = timedelta(seconds=5)
_NONE: Mapping[str, Escalation] = {}


class _LastSuccess(Struct, frozen=True):
    """An org's last successful poll, as seen by this process."""

    recorded_at: datetime
    at: float
    """When it was, by the monotonic clock."""
    certain: bool
    """False if it is dated in the future: then its time is unknown, and ``at`` is when it was found."""


class SilenceWatch:
    """Raises and ends alarms about silent orgs and failing notifiers."""

    def __init__(
        self,
        orgs: Mapping[str, Sequence[str]],
        routes: Sequence[Route],
        database: DatabaseExecutor,
        *,
        after: timedelta,
        notifiers: Mapping[str, Escalation] = _NONE,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch ``orgs``, a mapping of names to tags.

        ``after``: how long an org may be silent. ``notifiers``: which others get an alarm when one of them fails.
        """
        self._orgs = orgs
        self._routes = routes
        self._database = database
        self._after = after
        self._notifiers = notifiers
        self._now = now or database.now
        self._clock = clock
        self._started_at = self._now()
        self._started = clock()
        self._successes: dict[str, _LastSuccess] = {}

    async def check(self) -> bool:
        """Raise and end alarms. Return whether there is a message to send. Raises StoreError."""
        now = self._now()
        heard = await self._database.run(read_liveness)
        orgs = await self._check_orgs(heard, now)
        events = await self._check_events(heard, now)
        return await self._check_notifiers(now) or orgs or events

    async def _check_notifiers(self, now: datetime) -> bool:
        if not self._up_for_long:
            return False  # an attempt takes time, too
        decisions = {
            name: partial(escalation.after_time, now=now) for name, escalation in self._notifiers.items()
        }
        failing = await self._database.run(tell_lasting_trouble, decisions, now=now)
        for name in failing:
            _log.error("notifier_failing", notifier=name)
        return bool(failing)

    async def _check_events(self, heard: Mapping[str, OrgLiveness], now: datetime) -> bool:
        """Raise an alarm about an org whose events can't be used: its polls succeed, and nobody is watched."""
        stand = {name for kind, name in await self._database.run(standing) if kind == _EVENTS}
        unusable = {org for org in self._orgs if org in heard and heard[org].rejected_share.too_large}
        begun, over = sorted(unusable - stand), sorted(stand - unusable)
        if not begun and not over:
            return False
        raised, ended = await self._database.run(
            change_alarms,
            raise_=[
                Alarm(
                    subject=(_EVENTS, org),
                    tell=self._notifiers_of(org),
                    since=now,
                    details={"error": str(heard[org].rejected_share)},
                )
                for org in begun
            ],
            end=[self._end(org, _EVENTS) for org in over],
            now=now,
        )
        for alarm in raised:
            _log.error("events_unusable", org=alarm.subject[1], **alarm.details)
        for alarm in ended:
            _log.info("events_usable_again", org=alarm.subject[1])
        return bool(raised or ended)

    async def _check_orgs(self, heard: Mapping[str, OrgLiveness], now: datetime) -> bool:
        for one in heard.values():
            self._note_success(one)
        stand = {name for kind, name in await self._database.run(standing) if kind == _ORG}
        silent = {
            org for org in self._orgs if org in heard and org not in stand and self._is_silent(heard[org])
        }
        over = {org for org in stand if org not in self._orgs or self._is_well(org)}
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

    def _note_success(self, heard: OrgLiveness) -> None:
        before = self._successes.get(heard.org)
        if before is not None and before.recorded_at == heard.success_at:
            return
        # A change happened since the last check, which is not long ago.
        age = timedelta() if before is not None else self._now() - heard.success_at
        certain = age >= -_CLOCK_TOLERANCE
        at = self._clock() - max(age, timedelta()).total_seconds()
        self._successes[heard.org] = _LastSuccess(heard.success_at, at, certain)

    @property
    def _up_for_long(self) -> bool:
        return self._clock() - self._started > self._after.total_seconds()

    def _silent_for_long(self, org: str) -> bool:
        return self._clock() - self._successes[org].at > self._after.total_seconds()

    def _is_silent(self, heard: OrgLiveness) -> bool:
        polled = heard.polled_at is not None and heard.polled_at >= self._started_at
        return self._silent_for_long(heard.org) and (polled or self._up_for_long)

    def _is_well(self, org: str) -> bool:
        success = self._successes.get(org)
        return success is not None and success.certain and not self._silent_for_long(org)

    def _alarm(self, heard: OrgLiveness) -> Alarm:
        error = heard.error or "polls don't come to an end"
        return Alarm(
            subject=(_ORG, heard.org),
            tell=self._notifiers_of(heard.org),
            since=heard.success_at,
            details={"error": error},
        )

    def _end(self, org: str, kind: str = _ORG) -> Alarm:
        """Build the end of an alarm; nobody gets that of an org that is no longer watched."""
        return Alarm(subject=(kind, org), tell=self._notifiers_of(org) if org in self._orgs else ())

    def _notifiers_of(self, org: str) -> tuple[str, ...]:
        return tuple(route.notifier for route in self._routes if route.watches(org, self._orgs[org]))
