"""How notifiers fare: one that can't deliver is an alarm for the others.

Trouble is noted with the first attempt that fails, and over with the next message that is taken. It is
told at once when a message becomes a dead letter, otherwise when it has lasted long enough; its end, if
it was told. All of this happens in the transaction that marks the attempt, so whoever dies in between
tells it again or not at all, as the mark is made again or not; and of several processes one tells.

An alarm that can't be delivered is trouble of who does not take it, which is told once while it stands. So
two notifiers that are both down tell of each other once each, and that is the end of it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from oktawatch.model.notification import AlarmState
from oktawatch.store import tables
from oktawatch.store.alarms import Alarm, tell
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

APART = timedelta(hours=1)
"""From one alarm about a notifier to the next one: one that goes to and fro is not told each time."""
_LONGEST_ERROR = 1_000  # characters

_columns = tables.notifiers.c
_now = bindparam("now", type_=_columns.told_at.type)
_NOTE = (
    update(tables.notifiers)
    .where(_columns.name == bindparam("notifier"))
    .values(
        # A time in the future was set by a wrong clock.
        failing_since=func.coalesce(case((_columns.failing_since <= _now, _columns.failing_since)), _now),
        last_error=bindparam("error"),
    )
)
_UNTOLD = or_(
    _columns.told_at.is_(None),
    and_(
        _columns.told_at < _columns.failing_since,
        _columns.told_at <= bindparam("before", type_=_columns.told_at.type),
    ),
)
_LASTING = (
    _columns.failing_since <= bindparam("since", type_=_columns.failing_since.type),  # no row that has none
    _UNTOLD,
)
_TELL = (
    update(tables.notifiers)
    .where(_columns.name == bindparam("notifier"), *_LASTING)
    .values(told_at=_now)
    .returning(_columns.failing_since, _columns.last_error)
)
_IN_TROUBLE = (
    select(_columns.failing_since, _columns.told_at)
    .where(_columns.name == bindparam("notifier"), _columns.failing_since.is_not(None))
    .with_for_update()
)
_RECOVER = (
    update(tables.notifiers)
    .where(_columns.name == bindparam("notifier"))
    .values(
        failing_since=None,
        last_error=None,
        told_at=case((_columns.told_at > _now, _now), else_=_columns.told_at),
    )
)


class Neighbours(Struct, frozen=True, kw_only=True):
    """Who hears of one notifier's trouble, and how long it has to last."""

    names: tuple[str, ...] = ()
    """The other notifiers."""
    after: timedelta = timedelta(minutes=15)


def note_failure(
    connection: Connection, notifier: str, neighbours: Neighbours, *, error: str, dead: bool, now: datetime
) -> bool:
    """Note a failed attempt; tell whether it was told to the others. ``dead``: it has cost a message."""
    insert_new(connection, tables.notifiers, [(notifier,)], ("name",))
    connection.execute(_NOTE, {"notifier": notifier, "now": now, "error": error[:_LONGEST_ERROR]})
    since = now if dead else now - neighbours.after
    return _tell(connection, notifier, neighbours, since=since, now=now)


def note_success(connection: Connection, notifier: str, neighbours: Neighbours, *, now: datetime) -> bool:
    """Note that a message was taken; tell whether an alarm is over by it."""
    trouble = connection.execute(_IN_TROUBLE, {"notifier": notifier}).first()
    if trouble is None:
        return False
    connection.execute(_RECOVER, {"notifier": notifier, "now": now})
    if trouble.told_at is None or trouble.told_at < trouble.failing_since:
        return False
    over = Alarm(subject=("notifier", notifier), tell=neighbours.names, since=trouble.failing_since)
    tell(connection, AlarmState.OVER, [over], now=now)
    return True


def tell_lasting(
    database: Database, notifiers: Sequence[tuple[str, Neighbours]], *, now: datetime
) -> list[str]:
    """Tell trouble that has lasted long enough since its last attempt; give whose."""
    with database.read() as connection:
        failing = set(
            connection.execute(select(_columns.name).where(_columns.failing_since.is_not(None))).scalars()
        )
    if not failing:
        return []  # only read, as nearly always: nobody who writes is disturbed
    with database.write() as connection:
        return [
            name
            for name, neighbours in notifiers
            if name in failing and _tell(connection, name, neighbours, since=now - neighbours.after, now=now)
        ]


def _tell(
    connection: Connection, notifier: str, neighbours: Neighbours, *, since: datetime, now: datetime
) -> bool:
    values = {"notifier": notifier, "since": since, "before": now - APART, "now": now}
    trouble = connection.execute(_TELL, values).first()
    if trouble is None:
        return False
    alarm = Alarm(
        subject=("notifier", notifier),
        tell=neighbours.names,
        since=trouble.failing_since,
        details={"error": trouble.last_error},
    )
    tell(connection, AlarmState.RAISED, [alarm], now=now)
    return True
