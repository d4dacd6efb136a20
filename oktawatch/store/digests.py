"""The transaction that plans a notifier's next messages, and the summaries of digests.

A digest is a row of the outbox that is delivered and retried like any other. The rows that it replaces are
*digested* and refer to it. The digest's summary is computed from their alerts when the digest is sent. `notify.folding`
decides which rows are folded into a digest.

The outbox is read once, and rows are updated by their ids. A single statement that selects the rows itself can
take minutes on Postgres, which has no statistics for a table that was just filled.

A lock serialises the processes that plan for the same notifier, so that they don't fold the same rows.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    distinct,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from oktawatch.model.notification import Digest, DigestReason, NotificationKind, NotificationState
from oktawatch.model.outbox import (
    DeliveryPlan,
    DigestTopic,
    Fold,
    OpenedAlert,
    OutboxState,
    SentNotification,
    WaitingNotification,
)
from oktawatch.model.severity import RISES_FROM, Severity
from oktawatch.store import tables
from oktawatch.store.database import Database

LARGEST = 20_000
"""Maximum number of notifications in a plan, to limit memory. The others wait for the next plan."""
_NAMES = 5  # the most frequent people, addresses, rules and so on that a digest lists
_GOT_IN_NAMES = 10  # people with a success that a digest lists
_IDS = 20  # alerts that a digest lists
_MOST_VALUES = 1_000  # in one IN

_columns = tables.notifications.c
_alerts = tables.alerts.c
_joined = tables.notifications.join(tables.alerts, _alerts.id == _columns.alert_id)
_outer_joined = tables.notifications.outerjoin(tables.alerts, _alerts.id == _columns.alert_id)
_person = func.coalesce(_alerts.actor_alternate_id, _alerts.actor_id, _alerts.dedup_key)
_SUCCEEDED = _alerts.successes > 0
_RAISED = [severity for severity in Severity if severity > RISES_FROM]
"""The severities that a success after failures can raise an alert to."""
_TOTALS = select(
    func.count().label("alerts"),
    func.count(distinct(_person)).label("people"),
    func.min(_alerts.first_event_at).label("first_event_at"),
    func.max(_alerts.last_event_at).label("last_event_at"),
    func.count(case((and_(_alerts.risen, _alerts.severity.in_(_RAISED)), 1))).label("risen"),
)
# Urgent notifications first, so that the limit cuts off others.
_urgent_first = case(
    (_columns.severity.in_((Severity.HIGH, Severity.CRITICAL)), 0),
    (_columns.kind == NotificationKind.SILENCE, 0),
    else_=1,
)
_WAITING = (
    select(
        _columns.id,
        _columns.alert_id,
        _columns.kind,
        _columns.severity,
        _columns.late,
        _columns.attempts,
        _columns.next_attempt_at,
        _columns.created_at,
        _columns.content,
        _alerts.client_ip,
        _alerts.as_number,
        _person.label("person"),
        func.coalesce(_alerts.successes, 0).label("successes"),
    )
    .select_from(_outer_joined)
    .where(_columns.state == NotificationState.PENDING, _columns.notifier == bindparam("notifier"))
    .order_by(_urgent_first, _columns.next_attempt_at, _columns.alert_id)
    .limit(LARGEST)
)
_SENT = (
    select(_columns.kind, _columns.severity, _columns.sent_at, _columns.content)
    .where(
        _columns.notifier == bindparam("notifier"),
        _columns.sent_at > bindparam("digests_since", type_=_columns.sent_at.type),
        # Ignore messages that were sent while the clock was ahead.
        _columns.sent_at < bindparam("until", type_=_columns.sent_at.type),
        or_(
            _columns.kind == NotificationKind.DIGEST,
            _columns.sent_at > bindparam("since", type_=_columns.sent_at.type),
        ),
    )
    .order_by(_columns.sent_at)
)
_OPENED = (
    select(_alerts.client_ip, _alerts.as_number, _person.label("person"), _alerts.id, _alerts.successes)
    .select_from(_joined)
    .where(
        _columns.notifier == bindparam("notifier"),
        _columns.kind == NotificationKind.OPENED,
        _columns.digest_id.is_(None),
        _columns.late.is_(False),
        _columns.created_at > bindparam("since", type_=_columns.created_at.type),
    )
)
_GIVEN_UP = _columns.state.in_((NotificationState.DROPPED, NotificationState.DEAD))
# A union, so that each half can use its own index.
_NO_LONGER_WAITING = union_all(
    _OPENED.where(_columns.sent_at > bindparam("since", type_=_columns.sent_at.type)),
    _OPENED.where(_GIVEN_UP),
)


class OutboxTransaction:
    """The reads and writes of one transaction that plans a notifier's next messages."""

    def __init__(self, connection: Connection, notifier: str, now: datetime) -> None:
        self._connection = connection
        self._notifier = notifier
        self._now = now

    def state(
        self, *, sent_within: timedelta, digests_within: timedelta, opened_within: timedelta
    ) -> OutboxState:
        """Read up to `LARGEST` pending notifications, and the messages and alerts within these time limits."""
        execute, notifier, now = self._connection.execute, {"notifier": self._notifier}, self._now
        moments = {
            "since": now - sent_within,
            "digests_since": now - digests_within,
            "until": now + sent_within,
        }
        return OutboxState(
            sent=[_sent(row) for row in execute(_SENT, notifier | moments).mappings()],
            opened=[
                OpenedAlert(*row)
                for row in execute(_NO_LONGER_WAITING, notifier | {"since": now - opened_within})
            ],
            waiting=[_waiting(row) for row in execute(_WAITING, notifier).mappings()],
        )

    def apply(self, plan: DeliveryPlan) -> None:
        """Apply the plan to its notifications that are still due."""
        for postponement in plan.postponements:
            _change(self._connection, postponement.ids, self._now, next_attempt_at=postponement.until)
        for fold in plan.folds:
            _apply_fold(self._connection, self._notifier, fold, self._now)


@contextmanager
def outbox_transaction(database: Database, notifier: str, *, now: datetime) -> Iterator[OutboxTransaction]:
    """Open a transaction that plans a notifier's next messages, and locks out other processes that plan for it.

    Commits at the end, or rolls back on any error.
    """
    with database.write() as connection:
        database.lock(connection, f"outbox of {notifier}")
        yield OutboxTransaction(connection, notifier, now)


def _sent(row: Mapping[Any, Any]) -> SentNotification:
    kind = NotificationKind(row["kind"])
    topic = _topic(kind, row["content"])
    got_in = row["content"].get("got_in", 0) if topic is not None else 0
    return SentNotification(
        kind=kind, severity=row["severity"], sent_at=row["sent_at"], topic=topic, got_in=got_in
    )


def _waiting(row: Mapping[Any, Any]) -> WaitingNotification:
    kind = NotificationKind(row["kind"])
    fields = {key: value for key, value in row.items() if key not in ("kind", "content")}
    return WaitingNotification(**fields, kind=kind, topic=_topic(kind, row["content"]))


def _topic(kind: NotificationKind, content: dict[str, Any] | None) -> DigestTopic | None:
    if kind is not NotificationKind.DIGEST or content is None:
        return None
    return DigestTopic.from_content(content)


def _apply_fold(connection: Connection, notifier: str, fold: Fold, now: datetime) -> None:
    # If another process has claimed the digest since it was read, create a new one. Otherwise keep the digest locked.
    new = fold.new or not _lock_unsent(connection, fold.digest_id)
    digest_id = str(uuid.uuid4()) if new and not fold.new else fold.digest_id
    folded = _change(
        connection,
        fold.ids,
        now,
        state=NotificationState.DIGESTED,
        digest_id=digest_id,
        next_attempt_at=None,
    )
    if new and folded:  # 0 if other processes have claimed all rows since they were read
        connection.execute(
            insert(tables.notifications).values(
                id=digest_id,
                notifier=notifier,
                kind=NotificationKind.DIGEST,
                state=NotificationState.PENDING,
                attempts=0,
                next_attempt_at=now,
                created_at=now,
                late=False,
                content=fold.topic.to_content(people=fold.people, got_in=fold.got_in, earlier=fold.earlier),
            )
        )


def _lock_unsent(connection: Connection, digest_id: str) -> bool:
    query = (
        select(_columns.id)
        .where(_columns.id == digest_id, _columns.state == NotificationState.PENDING, _columns.attempts == 0)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).first() is not None


def _change(connection: Connection, ids: Sequence[str], now: datetime, **values: Any) -> int:
    """Update the rows that are still due and return their number. Other processes may have claimed some."""
    changed = 0
    for chunk in _chunks(ids):
        statement = (
            update(tables.notifications)
            .where(
                _columns.id.in_(chunk),
                _columns.state == NotificationState.PENDING,
                _columns.next_attempt_at <= now,
            )
            .values(values)
        )
        changed += connection.execute(statement).rowcount
    return changed


def summarize(connection: Connection, digest_id: str, content: Mapping[str, Any]) -> Digest:
    """Summarize a digest's alerts. The size of the result does not depend on their number."""
    folded = _alerts.id.in_(select(_columns.alert_id).where(_columns.digest_id == digest_id))
    # Also count the successes of alerts that were sent before their campaign was recognised.
    earlier = content.get("earlier")
    succeeded = and_(or_(folded, _alerts.id.in_(earlier)) if earlier else folded, _SUCCEEDED)
    people_who_succeeded = select(_person).where(succeeded).correlate(None)
    totals = connection.execute(_TOTALS.where(folded)).one()
    most_frequent = partial(_most_frequent, connection, folded)
    return Digest(
        reason=DigestReason(content["reason"]),
        source=None if content.get("source") is None else str(content["source"]),
        alerts=totals.alerts,
        people=max(totals.people, content.get("people", 0)),
        got_in=connection.execute(select(func.count(distinct(_person))).where(succeeded)).scalar_one(),
        got_in_names=_people_who_got_in(connection, succeeded),
        risen=totals.risen > 0,
        alert_ids=_first_ids(connection, folded),
        severities=most_frequent(_alerts.severity),
        rules=most_frequent(_alerts.rule_id),
        orgs=most_frequent(_alerts.org),
        who=most_frequent(_person),
        tried=most_frequent(_person, _person.not_in(people_who_succeeded)),
        addresses=most_frequent(_alerts.client_ip),
        countries=most_frequent(_alerts.country),
        first_event_at=totals.first_event_at,
        last_event_at=totals.last_event_at,
    )


def _most_frequent(
    connection: Connection,
    folded: ColumnElement[bool],
    column: ColumnElement[Any],
    *conditions: ColumnElement[bool],
) -> dict[str, int]:
    """Return the most frequent values of a column of the folded alerts, with their counts."""
    count = func.count()
    query = (
        select(column, count)
        .where(folded, column.is_not(None), *conditions)
        .group_by(column)
        .order_by(count.desc(), column)
        .limit(_NAMES)
    )
    return {_name(value): number for value, number in connection.execute(query)}


def _people_who_got_in(connection: Connection, succeeded: ColumnElement[bool]) -> dict[str, int]:
    """Return the alphabetically first people with a success, each with the smallest id of their alerts with a success."""
    query = select(_person, func.min(_alerts.id)).where(succeeded).group_by(_person).order_by(_person)
    return {row[0]: row[1] for row in connection.execute(query.limit(_GOT_IN_NAMES))}


def _first_ids(connection: Connection, folded: ColumnElement[bool]) -> list[int]:
    """Return the ids of the first folded alerts: those with a success, then the others, each by id."""
    query = select(_alerts.id).where(folded).order_by(case((_SUCCEEDED, 0), else_=1), _alerts.id)
    return list(connection.execute(query.limit(_IDS)).scalars())


def _name(value: Any) -> str:
    return value.name if isinstance(value, Severity) else str(value)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MOST_VALUES):
        yield ids[start : start + _MOST_VALUES]
