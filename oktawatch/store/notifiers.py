"""Record the health of notifiers, and enqueue alarms about failing notifiers for the others.

`notify.escalation` decides, and its decision is applied in the transaction that records the attempt. So a crash
can't separate the two.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from oktawatch.model.notification import AlarmState
from oktawatch.model.notifier_health import HealthChange, NotifierHealth
from oktawatch.store import tables
from oktawatch.store.alarms import Alarm, enqueue_alarms
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

_columns = tables.notifiers.c
_LOCK = (
    select(_columns.failing_since, _columns.last_error, _columns.told_at)
    .where(_columns.name == bindparam("notifier"))
    .with_for_update()
)
_LOCK_FAILING = _LOCK.where(_columns.failing_since.is_not(None))
_FAILING = select(_columns.name).where(_columns.failing_since.is_not(None))

Decide = Callable[[NotifierHealth], HealthChange]
"""Returns the change of a notifier's health after an attempt, or after some time."""


def record_failure(connection: Connection, notifier: str, decide: Decide, *, now: datetime) -> bool:
    """Record a failed attempt; return whether it raised an alarm."""
    insert_new(connection, tables.notifiers, [(notifier,)], ("name",))
    return _change(connection, notifier, decide, now=now)


def record_success(connection: Connection, notifier: str, decide: Decide, *, now: datetime) -> bool:
    """Record a successful delivery; return whether it ended an alarm."""
    return _change(connection, notifier, decide, now=now, only_failing=True)


def raise_due_alarms(database: Database, decisions: Mapping[str, Decide], *, now: datetime) -> list[str]:
    """Raise due alarms about failing notifiers; return the names of these notifiers."""
    with database.read() as connection:
        failing = connection.execute(_FAILING).scalars().all()
    if not failing:
        return []  # the usual case, which needs no write lock
    with database.write() as connection:
        return [
            name
            for name, decide in decisions.items()
            if name in failing and _change(connection, name, decide, now=now, only_failing=True)
        ]


def _change(
    connection: Connection, notifier: str, decide: Decide, *, now: datetime, only_failing: bool = False
) -> bool:
    """Apply a decision about a notifier's health; return whether it includes an alarm."""
    row = connection.execute(_LOCK_FAILING if only_failing else _LOCK, {"notifier": notifier}).first()
    if row is None:
        return False
    before = NotifierHealth(failing_since=row.failing_since, last_error=row.last_error, told_at=row.told_at)
    change = decide(before)
    after = change.health
    if after != before:
        statement = update(tables.notifiers).where(_columns.name == notifier)
        connection.execute(
            statement.values(
                failing_since=after.failing_since, last_error=after.last_error, told_at=after.told_at
            )
        )
    if change.alarm is None:
        return False
    details = {"error": after.last_error} if change.alarm is AlarmState.RAISED else {}
    alarm = Alarm(
        subject=("notifier", notifier), notifiers=change.notifiers, since=change.since, details=details
    )
    enqueue_alarms(connection, change.alarm, [alarm], now=now)
    return True
