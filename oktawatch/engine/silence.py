"""Raise alarms about silent orgs, because without them a broken detector looks just like a quiet night.

An org without a successful poll for `silence.after` raises an alarm. Every notifier of the org gets one message when
the alarm is raised, and one when it is over. A raised alarm is a row in the database, so a restart neither repeats
the alarm nor forgets to end it.

After a start, an org raises an alarm only after one of its polls has ended, or after `silence.after`. So an org that was
silent because the daemon was down raises no alarm.

The silence of an org is measured by the monotonic clock. It begins anew each time this process sees a newly successful
poll in the database. Only the age of the poll found at the start depends on the wall clock.

A notifier that can't deliver raises an alarm for the other notifiers (`notify.escalation`). Most of these alarms are
raised when an attempt fails. This module raises those that become due while the notifier waits for its next attempt.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec import Struct

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.routing import Route
from oktawatch.notify.escalation import Escalation
from oktawatch.store.alarms import Alarm, active_alarms, change_alarms
from oktawatch.store.database import Database
from oktawatch.store.notifiers import failing_notifiers, notifier_transaction
from oktawatch.store.org_liveness import OrgLiveness, read_liveness

_log: Any = structlog.get_logger(__name__)

_ORG = "org"
_EVENTS = "events"
_CLOCK_TOLERANCE = timedelta(seconds=5)
"""A poll that is dated at most this far in the future counts as just now."""
_NONE: Mapping[str, Escalation] = {}


class _LastSuccess(Struct, frozen=True):
    """An org's last successful poll, as seen by this process."""

    recorded_at: datetime
    """The time of the poll in the database."""
    at: float
    """The time of the poll by the monotonic clock."""
    certain: bool
    """False if the poll is dated in the future: its time is unknown, and ``at`` is when it was read."""


class SilenceWatch:
    """Raises and ends alarms about silent orgs and orgs with unusable events. Raises alarms about failing notifiers."""

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

        ``after`` is the longest time that an org may be silent. ``notifiers`` maps each notifier to the
        `Escalation` that decides about alarms about it.
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
        self.undecided: set[str] = set()
        """Orgs without a recent successful poll that have no alarm yet, because this process hasn't had time to poll them."""

    async def check(self) -> bool:
        """Raise and end alarms. Return whether there is a message to send. Raises StoreError."""
        now = self._now()
        liveness = await self._database.run(read_liveness)
        orgs = await self._check_orgs(liveness, now)
        events = await self._check_events(liveness, now)
        return await self._check_notifiers(now) or orgs or events

    async def _check_notifiers(self, now: datetime) -> bool:
        if not self._up_for_long:
            return False  # notifiers need time for an attempt first
        failing = await self._database.run(failing_notifiers)
        raised = False
        for name, escalation in self._notifiers.items():
            if name in failing and await self._database.run(_raise_due_alarm, name, escalation, now=now):
                _log.error("notifier_failing", notifier=name)
                raised = True
        return raised

    async def _check_events(self, liveness: Mapping[str, OrgLiveness], now: datetime) -> bool:
        """Raise and end alarms about orgs with too many unusable events, even if their polls succeed."""
        active = {name for kind, name in await self._database.run(active_alarms) if kind == _EVENTS}
        unusable = {org for org in self._orgs if org in liveness and liveness[org].rejected_share.too_large}
        newly_unusable, usable_again = sorted(unusable - active), sorted(active - unusable)
        if not newly_unusable and not usable_again:
            return False
        raised, ended = await self._database.run(
            change_alarms,
            raise_=[
                Alarm(
                    subject=(_EVENTS, org),
                    notifiers=self._notifiers_of(org),
                    since=now,
                    details={"error": str(liveness[org].rejected_share)},
                )
                for org in newly_unusable
            ],
            end=[self._end(org, _EVENTS) for org in usable_again],
            now=now,
        )
        for alarm in raised:
            _log.error("events_unusable", org=alarm.subject[1], **alarm.details)
        for alarm in ended:
            _log.info("events_usable_again", org=alarm.subject[1])
        return bool(raised or ended)

    async def _check_orgs(self, liveness: Mapping[str, OrgLiveness], now: datetime) -> bool:
        for org in liveness.values():
            self._note_success(org)
        active = {name for kind, name in await self._database.run(active_alarms) if kind == _ORG}
        silent = {
            name
            for name in self._orgs
            if name in liveness and name not in active and self._is_silent(liveness[name])
        }
        self.undecided = {
            name
            for name in self._orgs
            if name in liveness and name not in active | silent and self._silent_for_long(name)
        }
        over = {name for name in active if name not in self._orgs or self._has_recovered(name)}
        if not silent and not over:
            return False
        raised, ended = await self._database.run(
            change_alarms,
            raise_=[self._alarm(liveness[name]) for name in sorted(silent)],
            end=[self._end(name) for name in sorted(over)],
            now=now,
        )
        for alarm in raised:
            _log.error("org_silent", org=alarm.subject[1], since=alarm.since, **alarm.details)
        for alarm in ended:
            _log.info("org_heard_again", org=alarm.subject[1])
        return bool(raised or ended)

    def _note_success(self, org: OrgLiveness) -> None:
        before = self._successes.get(org.org)
        if before is not None and before.recorded_at == org.success_at:
            return
        # A poll that succeeded since the last check counts as just now: checks are frequent.
        age = timedelta() if before is not None else self._now() - org.success_at
        certain = age >= -_CLOCK_TOLERANCE
        at = self._clock() - max(age, timedelta()).total_seconds()
        self._successes[org.org] = _LastSuccess(org.success_at, at, certain)

    @property
    def _up_for_long(self) -> bool:
        return self._clock() - self._started > self._after.total_seconds()

    def _silent_for_long(self, org: str) -> bool:
        return self._clock() - self._successes[org].at > self._after.total_seconds()

    def _is_silent(self, org: OrgLiveness) -> bool:
        polled = org.polled_at is not None and org.polled_at >= self._started_at
        return self._silent_for_long(org.org) and (polled or self._up_for_long)

    def _has_recovered(self, org: str) -> bool:
        success = self._successes.get(org)
        return success is not None and success.certain and not self._silent_for_long(org)

    def _alarm(self, org: OrgLiveness) -> Alarm:
        error = org.error or "polls don't end"
        return Alarm(
            subject=(_ORG, org.org),
            notifiers=self._notifiers_of(org.org),
            since=org.success_at,
            details={"error": error},
        )

    def _end(self, org: str, kind: str = _ORG) -> Alarm:
        """Build the alarm to end. If the org is no longer configured, no notifier gets a message."""
        return Alarm(subject=(kind, org), notifiers=self._notifiers_of(org) if org in self._orgs else ())

    def _notifiers_of(self, org: str) -> tuple[str, ...]:
        return tuple(route.notifier for route in self._routes if route.watches(org, self._orgs[org]))


def _raise_due_alarm(database: Database, notifier: str, escalation: Escalation, *, now: datetime) -> bool:
    """Raise an alarm about a notifier that has been failing for long enough. Return whether one was raised."""
    with notifier_transaction(database, notifier, now=now) as transaction:
        health = transaction.failing_health()
        return health is not None and transaction.change_health(escalation.on_check(health, now=now))
