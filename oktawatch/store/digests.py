"""Many notifications in one message: what keeps a flood of alerts from being a flood of messages.

A digest is a row of the outbox like any other, delivered and retried like them. What it tells is counted
when it is sent, from the rows that name it: they are *digested*, and it stands for them.

Three things are folded: what is no news any more, what one address or network brings upon many people
(a campaign), and what is more than a notifier takes in a minute. A digest that nobody has tried to send
yet takes more in; one that was tried never changes, and an alert that was tried is in none, because their
receiver may have them already: it would pass over the one, and not know the other again.

What waits is read once and decided about in memory, and rows are changed by their ids: ten thousand of
them in a statement that finds its rows by itself took Postgres minutes, since it knows nothing yet of a
table that has just been filled.

Several processes fold for one notifier one after the other, so that none makes a digest of what another
has just folded.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    distinct,
    func,
    insert,
    select,
    union_all,
    update,
)

from oktawatch.model.notification import Digest, DigestReason, NotificationKind, NotificationState
from oktawatch.model.severity import Severity
from oktawatch.store import tables
from oktawatch.store.database import Database

MANY = 5
"""People whom one address or network has to trouble for it to be a campaign."""
CAMPAIGN = timedelta(minutes=10)
"""Within this time; and how long what goes on of it is then collected."""
LARGEST = 20_000
"""Notifications that are looked at together: what is above waits for the next time, and memory stays flat."""
_CAMPAIGNS = 5  # told apart at once, the largest; what others bring is folded as anybody's
_LATE_APART = timedelta(minutes=1)
_MINUTE = timedelta(minutes=1)
_NAMES = 5  # of a kind that a digest gives
_CAN_WAIT = (Severity.INFO, Severity.LOW, Severity.MEDIUM)
_CHANGED_AT_ONCE = 1_000  # rows a statement

_columns = tables.notifications.c
_alerts = tables.alerts.c
_joined = tables.notifications.join(tables.alerts, _alerts.id == _columns.alert_id)
_perhaps_joined = tables.notifications.outerjoin(tables.alerts, _alerts.id == _columns.alert_id)
_person = func.coalesce(_alerts.actor_alternate_id, _alerts.actor_id, _alerts.dedup_key)
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
        _alerts.client_ip,
        _alerts.as_number,
        _person.label("person"),
    )
    .select_from(_perhaps_joined)
    .where(_columns.state == NotificationState.PENDING, _columns.notifier == bindparam("notifier"))
    .order_by(_columns.next_attempt_at, _columns.alert_id)
    .limit(LARGEST)
)


def fold(database: Database, notifier: str, *, now: datetime, per_minute: int) -> int:
    """Fold what is due for a notifier; give how many messages it may get now.

    ``per_minute``: how many it takes in a minute, digests among them.
    """
    with database.write() as connection:
        database.hold(connection, f"outbox of {notifier}")
        allowance = max(per_minute - _sent_lately(connection, notifier, now), 0)
        folding = _Folding(connection, notifier, now)
        folding.fold_late()
        for source in _SOURCES:
            folding.fold_campaigns(source, allowance)
        folding.fold_above(allowance)
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
    # Bounded above: a clock that ran ahead must not use up the allowance until it is reached again.
    lately = _columns.sent_at.between(now - _MINUTE, now + _MINUTE)
    query = select(func.count()).where(_columns.notifier == notifier, lately)
    return connection.execute(query).scalar_one()


def _campaign(by: str, source: Any) -> dict[str, Any]:
    return {"reason": DigestReason.CAMPAIGN, "by": by, "source": source}


class _Waiting(Struct, frozen=True):
    """A notification that waits, with what of its alert decides where it belongs."""

    id: str
    alert_id: int | None
    kind: str
    severity: Severity | None
    late: bool
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    client_ip: str | None
    as_number: int | None
    person: str | None

    def is_opening(self, *, since: datetime) -> bool:
        """Tell whether it is news of a new alert."""
        return self.kind == NotificationKind.OPENED and not self.late and self.created_at > since


_SOURCES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("client_ip", lambda one: one.client_ip),
    ("as_number", lambda one: one.as_number),
)
"""What a campaign can come from: the column's name, and how to see it."""


class _Folding:
    """What waits for one notifier, within one transaction."""

    def __init__(self, connection: Connection, notifier: str, now: datetime) -> None:
        self._connection = connection
        self._notifier = notifier
        self._now = now
        found = connection.execute(_WAITING, {"notifier": notifier})
        self._waiting = [_Waiting(*row) for row in found]
        due = [one for one in self._waiting if one.next_attempt_at <= now]
        self._foldable = {one.id: one for one in due if one.alert_id is not None and not one.attempts}
        self._others = len(due) - len(self._foldable)
        self._digests = [one.id for one in due if one.kind == NotificationKind.DIGEST and not one.attempts]
        self._told: list[Any] | None = None

    def fold_late(self) -> None:
        """Fold what is no news, unless it is a single one; no more often than once a minute."""
        late = [one for one in self._foldable.values() if one.late]
        if len(late) < 2:  # noqa: PLR2004 -- one is told as itself
            return
        told = [
            at for at, said in self._sent_digests(within=_LATE_APART) if said["reason"] == DigestReason.LATE
        ]
        if told:
            self._hold(late, until=told[-1] + _LATE_APART)
        else:
            self._fold(late, {"reason": DigestReason.LATE})

    def fold_campaigns(self, source: tuple[str, Callable[[Any], Any]], allowance: int) -> None:
        """Fold what one source (an address, a network) brought upon many people within a short time.

        What goes on of it is collected and comes together, too; what is bad comes at once.
        """
        by, where_from = source
        groups: dict[Any, list[_Waiting]] = defaultdict(list)
        for one in self._foldable.values():
            if one.kind == NotificationKind.OPENED and where_from(one) is not None:
                groups[where_from(one)].append(one)
        if not groups:
            return
        known = self._recent_campaigns(by)
        for origin, told_at in known.items():
            group = groups.pop(origin, [])
            if self._now < told_at + CAMPAIGN:
                self._hold([one for one in group if one.severity in _CAN_WAIT], until=told_at + CAMPAIGN)
            elif len(group) > 1:
                self._fold(group, _campaign(by, origin))
        people = {origin: count for origin, count in self._people(where_from).items() if origin in groups}
        many = [origin for origin, count in people.items() if count >= MANY]
        room = min(_CAMPAIGNS, max(allowance - self._others, 0))
        for origin in sorted(many, key=lambda origin: (-people[origin], str(origin)))[:room]:
            self._fold(groups[origin], _campaign(by, origin) | {"people": people[origin]})

    def fold_above(self, allowance: int) -> None:
        """Fold what is more than may be sent now, the digest itself counted. With no allowance all waits."""
        alerts = list(self._foldable.values())  # the oldest first
        single = max(allowance - self._others, 0)
        if allowance and len(alerts) > single:
            self._fold(alerts[max(single - 1, 0) :], {"reason": DigestReason.ABOVE})

    def _people(self, where_from: Callable[[Any], Any]) -> dict[Any, int]:
        """Count by source whom alerts were opened about lately, whether told by now or not."""
        since = self._now - CAMPAIGN
        people: dict[Any, set[str]] = defaultdict(set)
        waiting = [one for one in self._waiting if one.is_opening(since=since)]
        for one in (*self._told_lately(since), *waiting):
            people[where_from(one)].add(one.person)
        return {origin: len(persons) for origin, persons in people.items()}

    def _told_lately(self, since: datetime) -> list[Any]:
        """Give whom alerts were about that were opened since and wait no more, with where from. Asked once."""
        if self._told is None:
            opened = (
                select(_alerts.client_ip, _alerts.as_number, _person.label("person"))
                .select_from(_joined)
                .where(
                    _columns.notifier == self._notifier,
                    _columns.kind == NotificationKind.OPENED,
                    _columns.digest_id.is_(None),
                    _columns.late.is_(False),
                    _columns.created_at > since,
                )
            )
            # Each half by an index of its own.
            given_up = _columns.state.in_((NotificationState.DROPPED, NotificationState.DEAD))
            query = union_all(opened.where(_columns.sent_at > since), opened.where(given_up))
            self._told = list(self._connection.execute(query))
        return self._told

    def _recent_campaigns(self, by: str) -> dict[Any, datetime]:
        """Give the sources that were told lately, and when they were last."""
        sent = self._sent_digests(within=2 * CAMPAIGN)
        return {content["source"]: sent_at for sent_at, content in sent if content.get("by") == by}

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

    def _hold(self, some: Sequence[_Waiting], *, until: datetime) -> None:
        self._change(some, next_attempt_at=until)

    def _fold(self, some: Sequence[_Waiting], content: dict[str, Any]) -> None:
        unsent = self._unsent_digest(content)
        digest_id = unsent or str(uuid.uuid4())
        folded = self._change(
            some, state=NotificationState.DIGESTED, digest_id=digest_id, next_attempt_at=None
        )
        if folded and unsent is None:  # else others have claimed all of it since it was read
            self._add_digest(digest_id, content)
            self._others += 1

    def _change(self, some: Sequence[_Waiting], **values: Any) -> int:
        """Change rows, and look at them no more; give how many were still there to be changed."""
        changed = 0
        for ids in _chunks([one.id for one in some]):
            # What waits is asked again: another process may have claimed it since it was read.
            statement = (
                update(tables.notifications)
                .where(
                    _columns.id.in_(ids),
                    _columns.state == NotificationState.PENDING,
                    _columns.next_attempt_at <= self._now,
                )
                .values(values)
            )
            changed += self._connection.execute(statement).rowcount
        for one in some:
            self._foldable.pop(one.id, None)
        return changed

    def _unsent_digest(self, content: dict[str, Any]) -> str | None:
        """Find the digest to fold into: one that nobody has tried to send yet.

        Nobody can claim it from here on until it is whole.
        """
        query = (
            select(_columns.id, _columns.content)
            .where(
                _columns.id.in_(self._digests),
                _columns.state == NotificationState.PENDING,
                _columns.attempts == 0,
            )
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


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHANGED_AT_ONCE):
        yield ids[start : start + _CHANGED_AT_ONCE]
