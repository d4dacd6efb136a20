"""Decide when the other notifiers get an alarm about a failing notifier.

An outage begins with the first failed attempt, and ends with the next delivery. The alarm is raised when a message
becomes a dead letter, or when the outage has lasted for `Escalation.after`. If an alarm was raised, a second message
reports the end of the outage.

`engine.deliver` applies the decision in the transaction that records the attempt (`store.notifiers`), so that only
one of several processes raises the alarm.

A stored time in the future comes from a clock that was ahead. Such a time is treated as now.

A failed attempt to deliver an alarm counts like any other towards the outage of its receiver. An outage raises only one alarm,
so when two notifiers fail, each gets one alarm about the other, not an endless series.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from oktawatch.model.notification import AlarmState
from oktawatch.model.notifier_health import HealthChange, NotifierHealth

REPEAT_AFTER = timedelta(hours=1)
"""Minimum time between two alarms about the same notifier, which may fail and recover again and again."""
_LONGEST_ERROR = 1_000  # characters


class Escalation(Struct, frozen=True, kw_only=True):
    """The notifiers that get an alarm about another notifier's outage, and when they get it."""

    names: tuple[str, ...] = ()
    """The other notifiers."""
    after: timedelta = timedelta(minutes=15)
    """After this time, an outage raises an alarm even without a dead letter."""

    def on_failure(self, health: NotifierHealth, *, error: str, lost: bool, now: datetime) -> HealthChange:
        """Return the change after a failed attempt. ``lost`` is true if the attempted message became a dead letter."""
        since = health.failing_since
        failing = NotifierHealth(
            failing_since=since if since is not None and since <= now else now,
            last_error=error[:_LONGEST_ERROR],
            told_at=health.told_at,
        )
        return self._raise_alarm(failing, now) if lost else self.on_check(failing, now=now)

    def on_success(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return the change after a delivery."""
        since, told_at = health.failing_since, health.told_at
        healthy = NotifierHealth(told_at=None if told_at is None else min(told_at, now))
        if since is None or told_at is None or told_at < since:
            return HealthChange(health=healthy)
        return HealthChange(health=healthy, alarm=AlarmState.OVER, since=since, notifiers=self.names)

    def on_check(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return the change without a new attempt: the outage may now have lasted long enough for an alarm."""
        since = health.failing_since
        if since is None or since > now - self.after:
            return HealthChange(health=health)
        return self._raise_alarm(health, now)

    def _raise_alarm(self, health: NotifierHealth, now: datetime) -> HealthChange:
        since, told_at = health.failing_since, health.told_at
        if told_at is not None and (since is None or told_at >= since or told_at > now - REPEAT_AFTER):
            return HealthChange(health=health)
        alarmed = msgspec.structs.replace(health, told_at=now)
        return HealthChange(health=alarmed, alarm=AlarmState.RAISED, since=since, notifiers=self.names)
