"""The transaction of a page.

A page's events, matches, alerts, notifications and new cursor are committed together or not at all. The
transaction locks the org's row before it reads anything else, so that two writers on one org can't each miss
the other's half of a pattern.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, bindparam, func, select, update

from oktawatch.model.alert import Alert, AlertStatus
from oktawatch.model.history import HistoryRow
from oktawatch.model.left_out import Frozen, LeftOut
from oktawatch.model.match import AllowedMatch, Match, MatchedEvent, MatchKey, Signals
from oktawatch.model.notification import Notification, NotificationState
from oktawatch.model.rejected import RejectedEvent
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.events import NO_SIGNALS, Added, Keyed, add_events
from oktawatch.store.history import StoredHistory
from oktawatch.store.left_out import frozen_calls, note_left_out
from oktawatch.store.orgs import lock_org, next_change

_GROUPED = (
    tables.alerts.c.id,
    tables.alerts.c.rule_id,
    tables.alerts.c.dedup_key,
    tables.alerts.c.anchor,
    tables.alerts.c.severity,
    tables.alerts.c.status,
    tables.alerts.c.event_count,
    tables.alerts.c.first_event_at,
    tables.alerts.c.last_event_at,
    tables.alerts.c.successes,
    tables.alerts.c.failures,
    tables.alerts.c.succeeded_at,
    tables.alerts.c.failed_at,
    tables.alerts.c.risen,
    tables.alerts.c.closed_at,
    tables.alerts.c.told,
)
# Statements are built once, because building one costs SQLAlchemy as much as running it.
_RECORDED = select(tables.matches.c.rule_id, tables.matches.c.event_uuid, tables.matches.c.alert_id).where(
    tables.matches.c.org == bindparam("org"),
    tables.matches.c.rule_id.in_(bindparam("rule_ids", expanding=True)),
    tables.matches.c.event_uuid.in_(bindparam("uuids", expanding=True)),
)
_ALLOWED = select(tables.allowed_matches.c.rule_id, tables.allowed_matches.c.event_uuid).where(
    tables.allowed_matches.c.org == bindparam("org"),
    tables.allowed_matches.c.rule_id.in_(bindparam("rule_ids", expanding=True)),
    tables.allowed_matches.c.event_uuid.in_(bindparam("uuids", expanding=True)),
)
_NEAR = select(*_GROUPED).where(
    tables.alerts.c.org == bindparam("org"),
    tables.alerts.c.rule_id == bindparam("rule_id"),
    tables.alerts.c.dedup_key.in_(bindparam("keys", expanding=True)),
    tables.alerts.c.anchor.between(bindparam("earliest"), bindparam("latest")),
)
_BY_ID = select(*_GROUPED).where(tables.alerts.c.id.in_(bindparam("ids", expanding=True)))
_OPEN = tables.alerts.insert().returning(
    tables.alerts.c.id, tables.alerts.c.rule_id, tables.alerts.c.dedup_key, tables.alerts.c.anchor
)
_GROUPING_CHANGES = (
    "severity", "status", "event_count", "first_event_at", "last_event_at", "successes", "failures", "succeeded_at",
    "failed_at", "risen", "told",
)  # fmt: skip
"""Columns of an alert that grouping changes."""
_REGROUP = (
    update(tables.alerts)
    .where(tables.alerts.c.id == bindparam("alert_id"))
    .values(title=func.coalesce(bindparam("new_title"), tables.alerts.c.title))
)
_COUNT = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("org"))
    .values(
        events_seen=tables.orgs.c.events_seen + bindparam("new_events"),
        events_rejected=tables.orgs.c.events_rejected + bindparam("rejected"),
        matches=tables.orgs.c.matches + bindparam("new_matches"),
    )
)
_COUNT_LATE = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("org"))
    .values(events_late=tables.orgs.c.events_late + bindparam("late"))
)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_MOST_VALUES = 10_000  # in one IN; SQLite allows 32,766 parameters


class PageTransaction:
    """The reads and writes of one page's transaction."""

    def __init__(self, connection: Connection, org: str, history_version: str | None, now: datetime) -> None:
        self.connection = connection
        self.org = org
        self.now = now
        self.history_version = history_version
        """The version of the org's history: see ``lock_org``."""
        self.history = StoredHistory(connection, org)
        """The org's history. It contains this page only after ``add_events``."""

    def recorded(self, keys: Sequence[MatchKey]) -> dict[MatchKey, int | None]:
        """Map each recorded match with one of these keys to its alert's id, or to None if it has none. May contain other matches, too."""
        found: dict[MatchKey, int | None] = {}
        for values in self._by_key(keys):
            found |= {MatchKey(row[0], row[1]): row[2] for row in self.connection.execute(_RECORDED, values)}
        return found

    def allowed(self, keys: Sequence[MatchKey]) -> set[MatchKey]:
        """Return the keys of recorded allowed matches: those among ``keys``, and perhaps others."""
        found: set[MatchKey] = set()
        for values in self._by_key(keys):
            found |= {MatchKey(*row) for row in self.connection.execute(_ALLOWED, values)}
        return found

    def _by_key(self, keys: Sequence[MatchKey]) -> Iterator[dict[str, Any]]:
        """Yield the parameters of the queries for matches with these keys.

        The queries find every combination of these rules and events, which can be more than the keys.
        """
        rule_ids = sorted({key.rule_id for key in keys})
        for uuids in _chunks(sorted({key.event_uuid for key in keys})):
            yield {"org": self.org, "rule_ids": rule_ids, "uuids": uuids}

    def alerts_near(self, matches: Sequence[Match], reach: Mapping[str, timedelta]) -> list[Alert]:
        """Return every alert that a match could join, and perhaps others.

        A match can join an alert that has the same dedup key and an anchor within the rule's ``reach`` of the match.
        """
        found = []
        # One query per rule, so that one rule's long reach does not fetch the many alerts of other rules.
        for rule_id in dict.fromkeys(match.rule_id for match in matches):
            of_rule = [match for match in matches if match.rule_id == rule_id]
            earliest = _shifted(min(match.published for match in of_rule), -reach[rule_id])
            latest = _shifted(max(match.published for match in of_rule), reach[rule_id])
            for keys in _chunks(sorted({match.dedup_key for match in of_rule})):
                values = {
                    "org": self.org, "rule_id": rule_id, "keys": keys, "earliest": earliest, "latest": latest,
                }  # fmt: skip
                found += [_alert(row) for row in self.connection.execute(_NEAR, values).mappings()]
        return found

    def alerts(self, ids: Sequence[int]) -> list[Alert]:
        """Return the alerts with these ids."""
        found = []
        for chunk in _chunks(ids):
            found += [_alert(row) for row in self.connection.execute(_BY_ID, {"ids": chunk}).mappings()]
        return found

    def add_events(
        self, events: Sequence[Keyed], rows: Sequence[HistoryRow] = (), signals: Signals = NO_SIGNALS
    ) -> Added:
        """Add events with their history rows and signals; return how much was new."""
        added = add_events(self.connection, self.org, events, rows, signals)
        self.history_version = added.version or self.history_version
        return added

    def add_rejected(self, rejected: Sequence[RejectedEvent]) -> int:
        """Store rejected events, once per fingerprint; return how many were new."""
        rows = [(self.org, event.fingerprint, self.now, event.reason, event.raw) for event in rejected]
        columns = ("org", "fingerprint", "received_at", "reason", "raw")
        return insert_new(self.connection, tables.rejected_events, rows, columns)

    def open_alerts(self, alerts: Sequence[Alert]) -> None:
        """Insert alerts and set their ids."""
        if not alerts:
            return
        rows = self.connection.execute(_OPEN, [self._opened(alert) | self._changed for alert in alerts])
        ids = {tuple(row[1:]): row[0] for row in rows}
        for alert in alerts:
            alert.id = ids[alert.rule_id, alert.dedup_key, alert.anchor]

    def save_alerts(self, alerts: Sequence[Alert]) -> None:
        """Update the columns that grouping changed."""
        if not alerts:
            return
        rows = [
            {"alert_id": alert.id, "new_title": alert.title, **_grouping_changes(alert), **self._changed}
            for alert in alerts
        ]
        self.connection.execute(_REGROUP, rows)

    def add_matches(self, matches: Sequence[tuple[Match, Alert | None]]) -> None:
        """Insert new matches. Their alerts must have ids."""
        columns = (
            "org", "rule_id", "event_uuid", "published", "dedup_key", "severity", "alert_id",
            *MatchedEvent.__struct_fields__,
        )  # fmt: skip
        rows = [
            (
                self.org, match.rule_id, match.event_uuid, match.published, match.dedup_key, match.severity,
                alert.id if alert else None, *msgspec.structs.astuple(match.event),
            )
            for match, alert in matches
        ]  # fmt: skip
        self._insert_matches(tables.matches, rows, columns)

    def add_allowed(self, matches: Sequence[AllowedMatch]) -> None:
        """Insert new allowed matches."""
        columns = ("org", *AllowedMatch.__struct_fields__)
        rows = [(self.org, *msgspec.structs.astuple(match)) for match in matches]
        self._insert_matches(tables.allowed_matches, rows, columns)

    def _insert_matches(
        self, table: Table, rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...]
    ) -> None:
        if insert_new(self.connection, table, rows, columns) != len(rows):
            # The caller has excluded the recorded matches, and no other process may insert any during this transaction.
            raise StoreError(
                f"matches of {self.org} were inserted by a process that did not lock the org's row"
            )

    def frozen_calls(self) -> list[Frozen]:
        """Return the calls of custom rules that froze a process, on events of any org."""
        return frozen_calls(self.connection)

    def note_left_out(
        self, left_out: Iterable[LeftOut], notifiers: Sequence[str], *, alarm_interval: timedelta
    ) -> bool:
        """Record the custom rules left out of this page; return whether an alarm about any of them was due."""
        return note_left_out(
            self.connection, self.org, left_out, notifiers, alarm_interval=alarm_interval, now=self.now
        )

    def enqueue(self, notifications: Sequence[Notification]) -> None:
        """Insert notifications into the outbox, skipping those that exist."""
        columns = (
            "id", "alert_id", "notifier", "kind", "severity", "state", "attempts", "next_attempt_at", "created_at",
            "late",
        )  # fmt: skip
        rows = [
            (
                notification.id, notification.alert.id, notification.notifier, notification.kind,
                notification.severity, NotificationState.PENDING, 0, self.now, self.now, notification.late,
            )
            for notification in notifications
        ]  # fmt: skip
        insert_new(self.connection, tables.notifications, rows, columns)

    def count(self, *, new_events: int, rejected: int, matches: int) -> None:
        """Add to the org's counts of events, rejected events and matches."""
        self.connection.execute(
            _COUNT, {"org": self.org, "new_events": new_events, "rejected": rejected, "new_matches": matches}
        )

    def count_late(self, events: int) -> None:
        """Add to the org's count of events that polling had missed."""
        self.connection.execute(_COUNT_LATE, {"org": self.org, "late": events})

    def _opened(self, alert: Alert) -> dict[str, Any]:
        details = alert.details
        if details is None:
            raise ValueError("an alert that was never stored has no details")
        shown = {name: getattr(details, name) for name in details.__struct_fields__}
        return shown | {
            "org": self.org,
            "rule_id": alert.rule_id,
            "dedup_key": alert.dedup_key,
            "anchor": alert.anchor,
            "title": alert.title or details.title,
            **_grouping_changes(alert),
            "created_at": self.now,
        }

    @cached_property
    def _changed(self) -> dict[str, Any]:
        """The values that every change of an alert sets. All changes of a transaction have the same number."""
        return {
            "updated_at": self.now,
            "change_id": next_change(self.connection, self.org, now=self.now),
        }


@contextmanager
def page_transaction(database: Database, org: str, *, now: datetime) -> Iterator[PageTransaction]:
    """Open a page's transaction, which locks the org's row with its first statement.

    Commits at the end, or rolls back on any error. Raises StoreError if the org has no row.
    """
    with database.write() as connection:
        version = lock_org(database, connection, org)
        yield PageTransaction(connection, org, version, now)


def _alert(row: Mapping[Any, Any]) -> Alert:
    return Alert(**{**row, "status": AlertStatus(row["status"])})


def _grouping_changes(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in _GROUPING_CHANGES}


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Shift a point in time, limited to the range of datetime, because an event's time can be anything."""
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta() else _FIRST


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]
