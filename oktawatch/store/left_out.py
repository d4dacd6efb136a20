"""Record the rules that were left out of pages, and the calls that froze the process, for `status` and alarms.

A rule that was left out has one row for each org, which is replaced when the rule is left out again. Each call that froze
the process has a separate row. The rows of such calls are read with each page, so that no process repeats the call.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from oktawatch.model.left_out import Frozen, FrozenCall, LeftOut, LeftOutRule
from oktawatch.model.notification import AlarmState
from oktawatch.store import tables
from oktawatch.store.alarms import Alarm, enqueue_alarms
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

_KEPT = timedelta(days=90)
"""Minimum time for which a frozen call is kept. Okta deletes events of this age."""

_columns = tables.rules_left_out.c
_FROZEN = select(
    _columns.org, _columns.rule_id, _columns.event_uuid, _columns.page_uuid, _columns.froze_at
).where(_columns.froze_at.is_not(None))


def frozen_calls(connection: Connection) -> list[Frozen]:
    """Return the calls that froze a process, on events of any org."""
    return [Frozen(**row) for row in connection.execute(_FROZEN).mappings()]


def note_left_out(
    connection: Connection,
    org: str,
    left_out: Iterable[LeftOut],
    notifiers: Sequence[str],
    *,
    alarm_interval: timedelta,
    now: datetime,
) -> bool:
    """Record the rules that were left out of an org's page; return whether an alarm about any of them was due.

    Two alarms about the same rule and org are at least ``alarm_interval`` apart.
    """
    enqueued = False
    for rule in left_out:
        due = _is_due(connection, org, rule.rule_id, now - alarm_interval)
        enqueued = enqueued or due
        of_rule = (_columns.org == org, _columns.rule_id == rule.rule_id)
        told_at = now if due else _last_told(connection, org, rule.rule_id)
        connection.execute(delete(tables.rules_left_out).where(*of_rule, _columns.froze_at.is_(None)))
        _upsert(connection, org, rule, told_at, now=now)
        if due:
            _enqueue_alarm(connection, org, rule, notifiers, now=now)
    return enqueued


def record_frozen(
    database: Database,
    call: FrozenCall,
    notifiers: Sequence[str],
    *,
    reason: str,
    alarm_interval: timedelta,
    now: datetime,
) -> None:
    """Record a call that froze the process, and enqueue an alarm. Recording the same call again updates its row.

    Two alarms about the same rule and org are at least ``alarm_interval`` apart.
    """
    rule = LeftOut(rule_id=call.rule_id, event_uuid=call.event_uuid or call.page_uuid, reason=reason)
    with database.write() as connection:
        connection.execute(delete(tables.rules_left_out).where(_columns.froze_at < now - _KEPT))
        due = _is_due(connection, call.org, call.rule_id, now - alarm_interval)
        told_at = now if due else _last_told(connection, call.org, call.rule_id)
        _upsert(connection, call.org, rule, told_at, now=now)
        connection.execute(
            update(tables.rules_left_out)
            .where(*_key(call.org, rule))
            .values(froze_at=now, page_uuid=call.page_uuid)
        )
        if due:
            _enqueue_alarm(connection, call.org, rule, notifiers, now=now)


def left_out_since(database: Database, since: datetime) -> list[LeftOutRule]:
    """Return the rules that were left out since a point in time, one row per rule and org, latest first."""
    query = select(_columns.org, _columns.rule_id, _columns.event_uuid, _columns.reason, _columns.at).where(
        _columns.at >= since
    )
    with database.read() as connection:
        found = [
            LeftOutRule(**row)
            for row in connection.execute(query.order_by(_columns.at.desc(), _columns.event_uuid)).mappings()
        ]
    latest: dict[tuple[str, str], LeftOutRule] = {}
    for rule in found:
        latest.setdefault((rule.org, rule.rule_id), rule)
    return list(latest.values())


def _upsert(
    connection: Connection, org: str, rule: LeftOut, told_at: datetime | None, *, now: datetime
) -> None:
    values = {"reason": rule.reason, "at": now, "told_at": told_at}
    row = (org, rule.rule_id, rule.event_uuid, "", *values.values())
    columns = ("org", "rule_id", "event_uuid", "page_uuid", *values)
    if not insert_new(connection, tables.rules_left_out, [row], columns):
        connection.execute(update(tables.rules_left_out).where(*_key(org, rule)).values(**values))


def _key(org: str, rule: LeftOut) -> tuple[ColumnElement[bool], ...]:
    return _columns.org == org, _columns.rule_id == rule.rule_id, _columns.event_uuid == rule.event_uuid


def _is_due(connection: Connection, org: str, rule_id: str, before: datetime) -> bool:
    """Return whether no alarm about a rule and org was raised after ``before``."""
    last = _last_told(connection, org, rule_id)
    return last is None or last <= before


def _last_told(connection: Connection, org: str, rule_id: str) -> datetime | None:
    query = select(func.max(_columns.told_at)).where(_columns.org == org, _columns.rule_id == rule_id)
    last: datetime | None = connection.execute(query).scalar()
    return last


def _enqueue_alarm(
    connection: Connection, org: str, rule: LeftOut, notifiers: Sequence[str], *, now: datetime
) -> None:
    alarm = Alarm(
        subject=("rule", rule.rule_id),
        notifiers=tuple(notifiers),
        details={"org": org, "event_uuid": rule.event_uuid, "error": rule.reason},
    )
    enqueue_alarms(connection, AlarmState.RAISED, [alarm], now=now)
