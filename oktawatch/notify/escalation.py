"""Decide when the other notifiers are told that one can't deliver.

An outage begins with the first attempt that fails, and ends with the next message that is taken. It raises an
alarm at once when a message becomes a dead letter, otherwise when it has lasted for some time. Its end is told
if there was an alarm. `store.notifiers` applies the decision in the transaction that marks the attempt, so that
one of several processes raises the alarm.

A time in the future was set by a clock that ran ahead, and counts as now.

An alarm that can't be delivered belongs to the outage of its own notifier, which raises one alarm while it
lasts. So two notifiers that are both down raise one alarm about each other.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from oktawatch.model.notification import AlarmState
from oktawatch.model.notifier_health import HealthChange, NotifierHealth

REPEAT_AFTER = timedelta(hours=1)
"""Least time between two alarms about one notifier, which may keep failing and recovering."""
_LONGEST_ERROR = 1_000  # characters


class Escalation(Struct, frozen=True, kw_only=True):
    """Which notifiers are told about one notifier's outage, and how long it has to last."""

    names: tuple[str, ...] = ()
    """The other notifiers."""
    after: timedelta = timedelta(minutes=15)
    """The length of an outage without a dead letter that raises an alarm."""

    def after_failure(self, health: NotifierHealth, *, error: str, lost: bool, now: datetime) -> HealthChange:
        """Return what a failed attempt changes. ``lost``: its message became a dead letter."""
        since = health.failing_since
        failing = NotifierHealth(
            failing_since=since if since is not None and since <= now else now,
            last_error=error[:_LONGEST_ERROR],
            told_at=health.told_at,
        )
        return self._raise_alarm(failing, now) if lost else self.after_time(failing, now=now)

    def after_success(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return what a delivered message changes."""
        since, told_at = health.failing_since, health.told_at
        healthy = NotifierHealth(told_at=None if told_at is None else min(told_at, now))
        if since is None or told_at is None or told_at < since:
            return HealthChange(health=healthy)
        return HealthChange(health=healthy, alarm=AlarmState.OVER, since=since, notifiers=self.names)

    def after_time(self, health: NotifierHealth, *, now: datetime) -> HealthChange:
        """Return what changes as time passes: an outage may have lasted long enough."""
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
