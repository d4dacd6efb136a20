"""Alarms about oktawatch itself, such as an org that is not polled.

An alarm that stands is a row, made in the transaction that tells it and deleted in the one that tells
its end. So each is told once and its end once, whoever looks how often, and across restarts.
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

Subject = tuple[str, str]
"""What kind of thing, and which: ``("org", "acme")``, ``("notifier", "soc")``."""


class Alarm(Struct, frozen=True, kw_only=True):
    """Something that may stand or be over, and whom to tell."""

    subject: Subject
    tell: tuple[str, ...]
    """Names of notifiers."""
    since: datetime | None = None
    details: Mapping[str, Any] = {}
    """What they are told beside that, as JSON values."""


def raise_alarms(connection: Connection, alarms: Sequence[Alarm], *, now: datetime) -> list[Alarm]:
    """Raise those alarms that don't stand yet, and give them; each notifier gets one message of all."""
    columns = ("subject", "since", "raised_at")
    raised = [
        alarm
        for alarm in alarms
        if insert_new(connection, tables.alarms, [(_key(alarm.subject), alarm.since, now)], columns)
    ]
    tell(connection, AlarmState.RAISED, raised, now=now)
    return raised


def end_alarms(connection: Connection, alarms: Sequence[Alarm], *, now: datetime) -> list[Alarm]:
    """End those alarms that stand, and give them; each notifier gets one message of all."""
    ended = []
    for alarm in alarms:
        statement = delete(tables.alarms).where(_columns.subject == _key(alarm.subject))
        stood = connection.execute(statement.returning(_columns.since)).first()
        if stood is not None:
            ended.append(msgspec.structs.replace(alarm, since=stood.since))
    tell(connection, AlarmState.OVER, ended, now=now)
    return ended


def tell(connection: Connection, state: AlarmState, alarms: Sequence[Alarm], *, now: datetime) -> None:
    """Put one message about all of them that concern it into each notifier's outbox."""
    told = []
    for notifier in dict.fromkeys(name for alarm in alarms for name in alarm.tell):
        about = [_about(state, alarm, now) for alarm in alarms if notifier in alarm.tell]
        told.append(
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
    if told:
        connection.execute(tables.notifications.insert(), told)


def _about(state: AlarmState, alarm: Alarm, now: datetime) -> dict[str, Any]:
    what, name = alarm.subject
    times = {"since": to_text(alarm.since)} if alarm.since is not None else {}
    if state is AlarmState.OVER:
        times["until"] = to_text(now)
    return {"what": what, "name": name, **times, **alarm.details}


def _key(subject: Subject) -> str:
    return json.dumps(subject, ensure_ascii=False, separators=(",", ":"))


def standing(database: Database) -> set[Subject]:
    """Give the subjects of the alarms that stand."""
    with database.read() as connection:
        subjects = [json.loads(key) for key in connection.execute(select(_columns.subject)).scalars()]
    return {(kind, name) for kind, name in subjects}


def change_alarms(
    database: Database, *, raise_: Sequence[Alarm], end: Sequence[Alarm], now: datetime
) -> tuple[list[Alarm], list[Alarm]]:
    """Raise some alarms and end others in one transaction; give those that were, each."""
    with database.write() as connection:
        return raise_alarms(connection, raise_, now=now), end_alarms(connection, end, now=now)
