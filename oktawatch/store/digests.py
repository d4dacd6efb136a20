"""Many notifications in one message: what keeps a flood of alerts from being a flood of messages.

A digest is a row of the outbox like any other, delivered and retried like them. What it tells is counted
when it is sent, from the rows that name it: they are *digested*, and it stands for them.

Three things are folded: what is no news any more, what one address or network brings upon many people
(a campaign), and what is more than a notifier takes in a minute. A digest that nobody has tried to send
yet takes more in; one that was tried never changes, and an alert that was tried is in none, because their
receiver may have them already: it would pass over the one, and not know the other again.

Several processes fold for one notifier one after the other, so that none makes a digest of what another
has just folded.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, distinct, func, insert, select, update

from oktawatch.model.alert import AlertStatus
from oktawatch.model.notification import Digest, DigestReason, NotificationKind, NotificationState
from oktawatch.model.severity import Severity
from oktawatch.store import tables
from oktawatch.store.database import Database

MANY = 5
"""People whom one address or network has to trouble for it to be a campaign."""
CAMPAIGN = timedelta(minutes=10)
"""Within this time; and how long what goes on of it is then collected."""
_LATE_APART = timedelta(minutes=1)
_MINUTE = timedelta(minutes=1)
_NOT_LATE = timedelta(hours=2)  # by event time, more than what is not late can be old; narrows the search
_NAMES = 5  # of a kind that a digest gives
_CAN_WAIT = (Severity.INFO, Severity.LOW, Severity.MEDIUM)

_columns = tables.notifications.c
_alerts = tables.alerts.c
_joined = tables.notifications.join(tables.alerts, _alerts.id == _columns.alert_id)
_person = func.coalesce(_alerts.actor_alternate_id, _alerts.actor_id, _alerts.dedup_key)


def fold(database: Database, notifier: str, *, now: datetime, per_minute: int) -> int:
    """Fold what is due for a notifier; give how many messages it may get now.

    ``per_minute``: how many it takes in a minute, digests among them.
    """
    with database.write() as connection:
        database.hold(connection, f"outbox of {notifier}")
        due = _Due(connection, notifier, now)
        due.fold_late()
        for column in (_alerts.client_ip, _alerts.as_number):
            due.fold_campaigns(column)
        allowance = max(per_minute - _sent_lately(connection, notifier, now), 0)
        due.fold_above(allowance)
    return allowance


def summarise(connection: Connection, digest_id: str, content: Mapping[str, Any]) -> Digest:
    """Count what a digest stands for. Its size does not depend on how much that is."""
    its_own = _columns.digest_id == digest_id
    total = connection.execute(
        select(
            func.count(),
            func.count(distinct(_person)),
            func.min(_alerts.first_event_at),
            func.max(_alerts.last_event_at),
        )
        .select_from(_joined)
        .where(its_own)
    ).one()

    def most(column: ColumnElement[Any]) -> dict[str, int]:
        number = func.count()
        query = (
            select(column, number)
            .select_from(_joined)
            .where(its_own, column.is_not(None))
            .group_by(column)
            .order_by(number.desc(), column)
            .limit(_NAMES)
        )
        return {_name(value): count for value, count in connection.execute(query)}

    return Digest(
        reason=DigestReason(content["reason"]),
        source=None if content.get("source") is None else str(content["source"]),
        alerts=total[0],
        people=max(total[1], content.get("people", 0)),
        severities=most(_alerts.severity),
        rules=most(_alerts.rule_id),
        orgs=most(_alerts.org),
        who=most(_person),
        addresses=most(_alerts.client_ip),
        countries=most(_alerts.country),
        first_event_at=total[2],
        last_event_at=total[3],
    )


def _name(value: Any) -> str:
    return value.name if isinstance(value, Severity) else str(value)


def _sent_lately(connection: Connection, notifier: str, now: datetime) -> int:
    query = select(func.count()).where(_columns.notifier == notifier, _columns.sent_at > now - _MINUTE)
    return connection.execute(query).scalar_one()


def _campaign(column: ColumnElement[Any], source: Any) -> dict[str, Any]:
    return {"reason": DigestReason.CAMPAIGN, "by": str(column.key), "source": source}


class _Due:
    """What is due for one notifier, within one transaction."""

    def __init__(self, connection: Connection, notifier: str, now: datetime) -> None:
        self._connection = connection
        self._notifier = notifier
        self._now = now
        self._pending = (
            _columns.state == NotificationState.PENDING,
            _columns.notifier == notifier,
            _columns.next_attempt_at <= now,
        )
        self._foldable = (*self._pending, _columns.alert_id.is_not(None), _columns.attempts == 0)

    def fold_late(self) -> None:
        """Fold what is no news, unless it is a single one; no more often than once a minute."""
        late = select(_columns.id).where(*self._foldable, _columns.late)
        if self._count(late) < 2:  # noqa: PLR2004 -- one is told as itself
            return
        told = [
            at for at, said in self._sent_digests(within=_LATE_APART) if said["reason"] == DigestReason.LATE
        ]
        if told:
            self._hold(late, until=told[-1] + _LATE_APART)
        else:
            self._fold(late, {"reason": DigestReason.LATE})

    def fold_campaigns(self, column: ColumnElement[Any]) -> None:
        """Fold what one source (an address, a network) brought upon many people within a short time.

        What goes on of it is collected and comes together, too; what is bad comes at once.
        """
        known = self._recent_campaigns(column)
        for source, told_at in known.items():
            group = self._from(column, source)
            if self._now < told_at + CAMPAIGN:
                self._hold(group.where(_columns.severity.in_(_CAN_WAIT)), until=told_at + CAMPAIGN)
            elif self._count(group) > 1:
                self._fold(group, _campaign(column, source))
        for source, people in self._connection.execute(self._campaigns(column)).all():
            if source not in known:
                self._fold(self._from(column, source), _campaign(column, source) | {"people": people})

    def fold_above(self, allowance: int) -> None:
        """Fold what is more than may be sent now, the digest itself counted. With no allowance all waits."""
        alerts = select(_columns.id).where(*self._foldable)
        others = self._count(select(_columns.id).where(*self._pending)) - self._count(alerts)
        single = max(allowance - others, 0)
        if allowance and self._count(alerts) > single:
            oldest_first = alerts.order_by(_columns.next_attempt_at, _columns.alert_id)
            self._fold(oldest_first.offset(max(single - 1, 0)), {"reason": DigestReason.ABOVE})

    def _campaigns(self, column: ColumnElement[Any]) -> Select[Any]:
        people = func.count(distinct(_person))
        is_due = case((self._pending[0] & self._pending[2], 1), else_=0)
        return (
            select(column, people)
            .select_from(_joined)
            .where(
                _columns.notifier == self._notifier,
                _columns.kind == NotificationKind.OPENED,
                _columns.digest_id.is_(None),
                _columns.late.is_(False),
                _columns.created_at > self._now - CAMPAIGN,
                # By the index on these two: what was opened lately is a small part of all alerts.
                _alerts.status.in_((AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED, AlertStatus.CLOSED)),
                _alerts.last_event_at > self._now - _NOT_LATE,
                column.is_not(None),
            )
            .group_by(column)
            .having(people >= MANY, func.sum(is_due) > 0)
            .order_by(column)
        )

    def _count(self, ids: Select[Any]) -> int:
        return self._connection.execute(select(func.count()).select_from(ids.subquery())).scalar_one()

    def _from(self, column: ColumnElement[Any], source: Any) -> Select[Any]:
        return (
            select(_columns.id)
            .select_from(_joined)
            .where(*self._foldable, _columns.kind == NotificationKind.OPENED, column == source)
        )

    def _recent_campaigns(self, column: ColumnElement[Any]) -> dict[Any, datetime]:
        """Give the sources that were told lately, and when they were last."""
        sent = self._sent_digests(within=2 * CAMPAIGN)
        return {
            content["source"]: sent_at for sent_at, content in sent if content.get("by") == str(column.key)
        }

    def _sent_digests(self, *, within: timedelta) -> list[tuple[datetime, dict[str, Any]]]:
        """Give when digests were sent and what was said of them, the latest last."""
        query = (
            select(_columns.sent_at, _columns.content)
            .where(
                _columns.notifier == self._notifier,
                _columns.sent_at > self._now - within,
                _columns.kind == NotificationKind.DIGEST,
            )
            .order_by(_columns.sent_at)
        )
        return [(sent_at, content) for sent_at, content in self._connection.execute(query)]

    def _hold(self, ids: Select[Any], *, until: datetime) -> None:
        self._update(ids, next_attempt_at=until)

    def _fold(self, ids: Select[Any], content: dict[str, Any]) -> None:
        unsent = self._unsent_digest(content)
        digest_id = unsent or str(uuid.uuid4())
        folded = self._update(
            ids, state=NotificationState.DIGESTED, digest_id=digest_id, next_attempt_at=None
        )
        if folded and unsent is None:  # else others have claimed all of it since the ids were found
            self._add_digest(digest_id, content)

    def _update(self, ids: Select[Any], **values: Any) -> int:
        # What is due is asked again: another process may have claimed it since the ids were found.
        statement = update(tables.notifications).where(*self._pending, _columns.id.in_(ids)).values(values)
        return self._connection.execute(statement).rowcount

    def _unsent_digest(self, content: dict[str, Any]) -> str | None:
        """Find the digest to fold into: one that nobody has tried to send yet.

        Nobody can claim it from here on until it is whole.
        """
        query = (
            select(_columns.id, _columns.content)
            .where(*self._pending, _columns.kind == NotificationKind.DIGEST, _columns.attempts == 0)
            .with_for_update(skip_locked=True)
        )
        for digest_id, found in self._connection.execute(query):
            if all(found.get(key) == content.get(key) for key in ("reason", "by", "source")):
                return str(digest_id)
        return None

    def _add_digest(self, digest_id: str, content: dict[str, Any]) -> None:
        self._connection.execute(
            insert(tables.notifications).values(
                id=digest_id,
                notifier=self._notifier,
                kind=NotificationKind.DIGEST,
                state=NotificationState.PENDING,
                attempts=0,
                next_attempt_at=self._now,
                created_at=self._now,
                late=False,
                content=content,
            )
        )
