"""Decide when the other notifiers get an alarm about a failing notifier.

An outage begins with the first failed attempt, and ends with the next delivery. It raises an alarm at once when a
message becomes a dead letter, otherwise when it has lasted for some time. Its end is notified if there was an alarm.
`store.notifiers` applies the decision in the transaction that marks the attempt, so that only one of several
processes raises the alarm.

A time in the future was set while the clock was ahead, and counts as now.

An alarm that can't be delivered belongs to the outage of its own notifier, which raises only one alarm. So two
failing notifiers raise one alarm about each other.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from oktawatch.model.notification import AlarmState
from oktawatch.model.notifier_health import HealthChange, NotifierHealth

REPEAT_AFTER = timedelta(hours=1)
"""Minimum time between two alarms about a notifier, which may keep failing and recovering."""
_LONGEST_ERROR = 1_000  # characters


class Escalation(Struct, frozen=True, kw_only=True):
    """The notifiers that get an alarm about a notifier's outage, and the minimum length of the outage."""

    names: tuple[str, ...] = ()
    """The other notifiers."""
    after: timedelta = timedelta(minutes=15)
    """The length of an outage without a dead letter that raises an alarm."""

    def after_failure(self, health: NotifierHealth, *, error: str, lost: bool, now: datetime) -> HealthChange:
        """Return the change after a failed attempt. ``lost`` is true if its message became a dead letter."""
        since = health.failing_since
        failing = NotifierHealth(
            failing_since=since if since is not None and since <= now else now,
            last_error=error[:_LONGEST_ERROR],
            told_at=health.told_at,
        )
        return self._raise_alarm(failing, now) if lost else self.after_time(failing, now=now)

    def after_success(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return the change after a delivery."""
        since, told_at = health.failing_since, health.told_at
        healthy = NotifierHealth(told_at=None if told_at is None else min(told_at, now))
        if since is None or told_at is None or told_at < since:
            return HealthChange(health=healthy)
        return HealthChange(health=healthy, alarm=AlarmState.OVER, since=since, notifiers=self.names)

    def after_time(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return the change after some time: an outage may have lasted long enough for an alarm."""
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
