"""Alarms about oktawatch itself, such as an org that is not polled.

An active alarm about an org has a row. The transaction that inserts or deletes this row also enqueues the notifications.
So the start and the end of the alarm are each notified once, even across restarts and with several processes. Alarms about
notifiers and rules have no row in this table: `store/notifiers.py` and `store/left_out.py` only call `enqueue_alarms`.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, select

from oktawatch.model.notification import AlarmState, NotificationKind, NotificationState
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

_columns = tables.alarms.c
_ACTIVE = select(_columns.subject)

Subject = tuple[str, str]
"""Kind and name: ``("org", "acme")``, ``("events", "acme")``, ``("notifier", "soc")``, ``("rule", "my_rule")``."""


class Alarm(Struct, frozen=True, kw_only=True):
    """An alarm and the notifiers that it goes to."""

    subject: Subject
    notifiers: tuple[str, ...]
    """The notifiers' names."""
    since: datetime | None = None
    """The start of the trouble that the alarm reports, if known."""
    details: Mapping[str, Any] = {}
    """Further content of the notification, as JSON values."""


def raise_alarms(connection: Connection, alarms: Sequence[Alarm], *, now: datetime) -> list[Alarm]:
    """Raise the alarms that are not active, and return them. Each notifier gets one message about all of its alarms."""
    columns = ("subject", "since", "raised_at")
    raised = [
        alarm
        for alarm in alarms
        if insert_new(connection, tables.alarms, [(_key(alarm.subject), alarm.since, now)], columns)
    ]
    enqueue_alarms(connection, AlarmState.RAISED, raised, now=now)
    return raised


def end_alarms(connection: Connection, alarms: Sequence[Alarm], *, now: datetime) -> list[Alarm]:
    """End the alarms that are active, and return them. Each notifier gets one message about all of its alarms."""
    ended = []
    for alarm in alarms:
        statement = delete(tables.alarms).where(_columns.subject == _key(alarm.subject))
        deleted = connection.execute(statement.returning(_columns.since)).first()
        if deleted is not None:
            ended.append(msgspec.structs.replace(alarm, since=deleted.since))
    enqueue_alarms(connection, AlarmState.OVER, ended, now=now)
    return ended


def enqueue_alarms(
    connection: Connection, state: AlarmState, alarms: Sequence[Alarm], *, now: datetime
) -> None:
    """Enqueue one message for each notifier about all of its alarms."""
    rows = []
    for notifier in dict.fromkeys(name for alarm in alarms for name in alarm.notifiers):
        about = [_content(state, alarm, now) for alarm in alarms if notifier in alarm.notifiers]
        rows.append(
            {
                "id": str(uuid.uuid4()),
                "notifier": notifier,
                "kind": NotificationKind.SILENCE,
                "state": NotificationState.PENDING,
                "attempts": 0,
                "next_attempt_at": now,
                "created_at": now,
                "late": False,
                "content": {"state": state, "about": about},
            }
        )
    if rows:
        connection.execute(tables.notifications.insert(), rows)


def _content(state: AlarmState, alarm: Alarm, now: datetime) -> dict[str, Any]:
    kind, name = alarm.subject
    times = {"since": to_text(alarm.since)} if alarm.since is not None else {}
    if state is AlarmState.OVER:
        times["until"] = to_text(now)
    return {"what": kind, "name": name, **times, **alarm.details}


def _key(subject: Subject) -> str:
    return json.dumps(subject, ensure_ascii=False, separators=(",", ":"))


def active_alarms(database: Database) -> set[Subject]:
    """Return the subjects of the active alarms."""
    with database.read() as connection:
        subjects = [json.loads(key) for key in connection.execute(_ACTIVE).scalars()]
    return {(kind, name) for kind, name in subjects}


def change_alarms(
    database: Database, *, raise_: Sequence[Alarm], end: Sequence[Alarm], now: datetime
) -> tuple[list[Alarm], list[Alarm]]:
    """Raise and end alarms in one transaction; return the raised and the ended alarms."""
    with database.write() as connection:
        return raise_alarms(connection, raise_, now=now), end_alarms(connection, end, now=now)
