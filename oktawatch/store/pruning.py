"""Delete expired rows, in batches of bounded size, so that no other writer waits long.

Each batch of an org's rows is a transaction that locks the org's row first, as a page's transaction does. So a batch and
a page can't deadlock, and a page sees all of a batch deleted or none of it. A crash between two batches leaves rows for the
next run. Two processes that prune at once delete each row once. Rows that have an event time expire by it.

An alert's matches and notifications are deleted before the alert, perhaps in an earlier batch. The deleted matches can't
be recorded again in between: Okta keeps events for a shorter time than the shortest retention of alerts.

Pruning does not change the history's version. Deleted rows can stay in the cache, because they are older than anything
a rule looks at. Reloading the cache after each batch would delay the pages.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Table,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
    update,
)

from oktawatch.model.alert import AlertStatus
from oktawatch.model.history import SIGN_IN
from oktawatch.model.notification import NotificationState
from oktawatch.model.timestamps import to_text
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.history_fields import PLACES
from oktawatch.store.orgs import lock_org

_event_type = tables.events.c.fields[PLACES["event_type"]].as_string()


class Reading(Struct, frozen=True, kw_only=True):
    """How far an org has been read."""

    org: str
    last_polled_at: datetime
    """When the org was last polled, or when it was registered if it was never polled."""
    until: datetime | None
    """The event time up to which the org was swept. Before the first sweep: when a poll last reached the end of the log, or
    else where polling began. None if the org was never polled."""
    newest: datetime | None
    """The time of the newest polled event, or else where polling began. Polling may have to restart shortly before it."""


class Expiry(Struct, frozen=True, kw_only=True):
    """The points in time before which rows of an org expire."""

    org: str
    events: datetime
    """For events, and for rejected events and backfills, which have no event time."""
    history: datetime | None
    """For events that rules may look back at. None: no rule looks back."""
    backfill_look_back: timedelta
    """How much history before its own time range a backfill needs."""
    backfills_active_since: datetime
    """An unfinished backfill is in progress if it began or committed a page after this time."""
    alerts: datetime
    """For alerts, by their last match, and for allowed matches."""
    sightings: datetime
    """For sightings, by their latest sign-in."""
    familiar: datetime
    """For days on which people used an anonymizer. No sign-in that Okta still serves needs earlier days."""
    served: datetime
    """For the keys of counted sign-ins. Okta no longer serves earlier events."""
    is_in_history: Callable[[str], bool]
    """Return whether events of a type are still stored in history."""


class Batch(Struct, frozen=True):
    """The result of one batch."""

    rows: Counter[str]
    """The number of deleted rows, by table."""
    more: bool
    """Whether further rows may have expired."""


Step = Callable[[Database, Expiry, int], Batch]
"""Deletes one batch of an org's rows. The number limits the rows that are deleted from a large table."""


def readings(database: Database) -> list[Reading]:
    """Return how far each org in the database has been read."""
    orgs, cursors = tables.orgs.c, tables.cursors.c
    query = select(
        orgs.name.label("org"),
        func.coalesce(orgs.last_poll_at, orgs.created_at).label("last_polled_at"),
        func.coalesce(cursors.swept_until, cursors.last_caught_up_at, cursors.began_at).label("until"),
        func.coalesce(cursors.last_published, cursors.began_at).label("newest"),
    ).outerjoin_from(tables.orgs, tables.cursors, cursors.org == orgs.name)
    with database.read() as connection:
        return [Reading(**row) for row in connection.execute(query.order_by(orgs.name)).mappings()]


def prune_alerts(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete alerts, each after its matches, notifications and actions."""
    with database.write() as connection:
        lock_org(database, connection, expiry.org)
        expired = select(tables.alerts.c.id).where(*_expired_alerts(expiry))
        ids = list(connection.execute(expired.order_by(tables.alerts.c.last_event_at).limit(most)).scalars())
        if not ids:
            return Batch(Counter(), more=False)
        matches = _delete(connection, tables.matches, [tables.matches.c.alert_id.in_(ids)], most)
        if matches == most:
            return Batch(Counter(matches=matches), more=True)
        notifications = _delete(connection, tables.notifications, [tables.notifications.c.alert_id.in_(ids)])
        actions = _delete(connection, tables.alert_actions, [tables.alert_actions.c.alert_id.in_(ids)])
        alerts = _delete(connection, tables.alerts, [tables.alerts.c.id.in_(ids)])
        pruned = Counter(matches=matches, notifications=notifications, alert_actions=actions, alerts=alerts)
        return Batch(pruned, more=len(ids) == most)


def prune_events(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete the oldest expired events, and record their types in `pruned_history`.

    The keys of sign-ins that `sightings` has counted are kept as long as Okta may serve them again.
    """
    with database.write() as connection:
        lock_org(database, connection, expiry.org)
        before = _events_before(connection, expiry)
        conditions, more = _oldest(connection, expiry.org, before, most)
        _record_pruned_types(connection, expiry, before, conditions)
        connection.execute(_keep_keys([*conditions, tables.events.c.published >= expiry.served]))
        return Batch(Counter(events=_delete(connection, tables.events, conditions)), more=more)


def prune_counted_sign_ins(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete the keys of sign-ins that Okta no longer serves."""
    with database.write() as connection:
        lock_org(database, connection, expiry.org)
        deleted = _delete(connection, tables.counted_sign_ins, _no_longer_served(expiry), most)
        return Batch(Counter(counted_sign_ins=deleted), more=deleted == most)


def prune_sightings(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete the sightings whose latest sign-in is too old."""
    return _prune_without_index(database, expiry, tables.sightings, _expired_sightings(expiry), most)


def prune_familiar_days(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete the familiar days that no sign-in looks back to any more."""
    return _prune_without_index(database, expiry, tables.familiar_days, _expired_days(expiry), most)


def _prune_without_index(
    database: Database, expiry: Expiry, table: Table, expired: Sequence[ColumnElement[bool]], most: int
) -> Batch:
    """Delete rows that no index finds by age. Find the rows before locking the org's row, because the search is slow."""
    key = table.primary_key.columns.values()
    with database.read() as connection:
        found = connection.execute(select(*key).where(*expired).limit(most)).all()
    if not found:
        return Batch(Counter(), more=False)
    with database.write() as connection:
        lock_org(database, connection, expiry.org)
        conditions = [*expired, tuple_(*key).in_([tuple(row) for row in found])]
        deleted = _delete(connection, table, conditions)
        return Batch(Counter({table.name: deleted}), more=len(found) == most)


def prune_the_rest(database: Database, expiry: Expiry, most: int) -> Batch:
    """Delete allowed matches, rejected events and backfills."""
    with database.write() as connection:
        lock_org(database, connection, expiry.org)
        allowed = _delete(connection, tables.allowed_matches, _allowed(expiry), most)
        rejected = _delete(connection, tables.rejected_events, _rejected(expiry), most)
        backfills = _delete(connection, tables.backfills, _backfills(expiry))
        return Batch(
            Counter(allowed_matches=allowed, rejected_events=rejected, backfills=backfills),
            more=most in (allowed, rejected),
        )


_PRUNED = (
    tables.alerts, tables.matches, tables.notifications, tables.alert_actions, tables.events, tables.sightings,
    tables.familiar_days, tables.counted_sign_ins, tables.allowed_matches, tables.rejected_events, tables.backfills,
    tables.leases,
)  # fmt: skip
PRUNED = tuple(table.name for table in _PRUNED)
"""Names of the tables whose deleted rows are counted: all from which pruning deletes rows, except `pruned_history`."""

STEPS: tuple[Step, ...] = (
    prune_alerts, prune_events, prune_counted_sign_ins, prune_sightings, prune_familiar_days, prune_the_rest,
)  # fmt: skip


def prune_messages(database: Database, before: datetime, most: int) -> Batch:
    """Delete old messages that are not about a single alert (digests, alarms, tests), unless they are pending."""
    with database.write() as connection:
        deleted = _delete(connection, tables.notifications, _messages(before), most)
        return Batch(Counter(notifications=deleted), more=deleted == most)


def prune_leases(database: Database, orgs: Sequence[str], before: datetime) -> Counter[str]:
    """Delete leases that expired before ``before``, except those of the configured ``orgs``."""
    with database.write() as connection:
        return Counter(leases=_delete(connection, tables.leases, _expired_leases(orgs, before)))


def count_expired(database: Database, expiry: Expiry) -> Counter[str]:
    """Count the expired rows of an org, by table."""
    alerts = _expired_alerts(expiry)
    ids = select(tables.alerts.c.id).where(*alerts)
    wanted: list[tuple[Table, Sequence[ColumnElement[bool]]]] = [
        (tables.alerts, alerts),
        (tables.matches, [tables.matches.c.alert_id.in_(ids)]),
        (tables.notifications, [tables.notifications.c.alert_id.in_(ids)]),
        (tables.alert_actions, [tables.alert_actions.c.alert_id.in_(ids)]),
        (tables.counted_sign_ins, _no_longer_served(expiry)),
        (tables.sightings, _expired_sightings(expiry)),
        (tables.allowed_matches, _allowed(expiry)),
        (tables.familiar_days, _expired_days(expiry)),
        (tables.rejected_events, _rejected(expiry)),
        (tables.backfills, _backfills(expiry)),
    ]
    with database.read() as connection:
        wanted.append((tables.events, _before(expiry.org, _events_before(connection, expiry))))
        return Counter({table.name: _count(connection, table, conditions) for table, conditions in wanted})


def count_messages_and_leases(
    database: Database, orgs: Sequence[str], *, messages: datetime, leases: datetime
) -> Counter[str]:
    """Count the expired messages and leases, by table."""
    with database.read() as connection:
        return Counter(
            notifications=_count(connection, tables.notifications, _messages(messages)),
            leases=_count(connection, tables.leases, _expired_leases(orgs, leases)),
        )


def _expired_alerts(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    alerts = tables.alerts.c
    # All statuses, because the index begins with the status.
    return (alerts.status.in_(AlertStatus), alerts.last_event_at < expiry.alerts, alerts.org == expiry.org)


def _before(org: str, moment: datetime) -> Sequence[ColumnElement[bool]]:
    return (tables.events.c.org == org, tables.events.c.published < moment)


def _events_before(connection: Connection, expiry: Expiry) -> datetime:
    """Return the time before which events may be deleted now, given the backfills in progress.

    To delete events, lock the org's row first. A backfill takes the same lock when it begins, so the history that the
    backfill needs is kept from then on.
    """
    if expiry.history is None:
        return expiry.events
    columns = tables.backfills.c
    earliest_start = select(func.min(columns.since)).where(
        columns.org == expiry.org,
        columns.finished_at.is_(None),
        columns.updated_at > expiry.backfills_active_since,
    )
    since: datetime | None = connection.execute(earliest_start).scalar_one()
    needed = expiry.history if since is None else min(expiry.history, since - expiry.backfill_look_back)
    return min(expiry.events, needed)


def _keep_keys(conditions: Sequence[ColumnElement[bool]]) -> Insert:
    """Return the statement that stores the keys of the sign-ins among these events, unless they are stored."""
    events, noted = tables.events.c, tables.counted_sign_ins.c
    is_noted = exists().where(
        noted.org == events.org, noted.published == events.published, noted.uuid == events.uuid
    )
    sign_ins = select(events.org, events.published, events.uuid).where(
        *conditions, _event_type == SIGN_IN, ~is_noted
    )
    return tables.counted_sign_ins.insert().from_select(["org", "published", "uuid"], sign_ins)


def _no_longer_served(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.counted_sign_ins.c
    return (columns.org == expiry.org, columns.published < expiry.served)


def _expired_sightings(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.sightings.c
    return (columns.org == expiry.org, columns.last_at < expiry.sightings)


def _allowed(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.allowed_matches.c
    return (columns.org == expiry.org, columns.published < expiry.alerts)


def _expired_days(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.familiar_days.c
    return (columns.org == expiry.org, columns.day < to_text(expiry.familiar)[:10])


def _rejected(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.rejected_events.c
    return (columns.org == expiry.org, columns.received_at < expiry.events)


def _backfills(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.backfills.c
    return (columns.org == expiry.org, columns.updated_at < expiry.events)


def _messages(before: datetime) -> Sequence[ColumnElement[bool]]:
    columns = tables.notifications.c
    return (
        columns.alert_id.is_(None),
        columns.state != NotificationState.PENDING,
        columns.created_at < before,
    )


def _expired_leases(orgs: Sequence[str], before: datetime) -> Sequence[ColumnElement[bool]]:
    return (tables.leases.c.org.not_in(orgs), tables.leases.c.expires_at < before)


def _count(connection: Connection, table: Table, conditions: Sequence[ColumnElement[bool]]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


def _delete(
    connection: Connection, table: Table, conditions: Sequence[ColumnElement[bool]], most: int | None = None
) -> int:
    """Delete rows, ``most`` of them at most; return how many."""
    if most is not None:
        key = table.primary_key.columns.values()
        conditions = [tuple_(*key).in_(select(*key).where(*conditions).limit(most))]
    return connection.execute(delete(table).where(*conditions)).rowcount


def _oldest(
    connection: Connection, org: str, before: datetime, most: int
) -> tuple[Sequence[ColumnElement[bool]], bool]:
    """Return the conditions for the oldest expired events, and whether more events may have expired."""
    conditions = _before(org, before)
    key = (tables.events.c.published, tables.events.c.uuid)
    last = connection.execute(
        select(*key).where(*conditions).order_by(*key).offset(most - 1).limit(1)
    ).first()
    if last is None:
        return conditions, False
    last_key = (literal(value, column.type) for value, column in zip(last, key, strict=True))
    return (*conditions, tuple_(*key) <= tuple_(*last_key)), True


def _record_pruned_types(
    connection: Connection, expiry: Expiry, before: datetime, conditions: Sequence[ColumnElement[bool]]
) -> None:
    """Record the event types of the rows to delete. Forget types that are no longer stored in history."""
    noted = tables.pruned_history.c
    pruned_types = connection.execute(select(_event_type).where(*conditions).distinct()).scalars()
    wanted = sorted(kind for kind in pruned_types if kind is not None and expiry.is_in_history(kind))
    columns = ("org", "event_type", "before")
    insert_new(connection, tables.pruned_history, [(expiry.org, kind, before) for kind in wanted], columns)
    later = (noted.org == expiry.org, noted.event_type.in_(wanted), noted.before < before)
    connection.execute(update(tables.pruned_history).where(*later).values(before=before))
    known = connection.execute(select(noted.event_type).where(noted.org == expiry.org)).scalars()
    unwanted = [kind for kind in known if not expiry.is_in_history(kind)]
    connection.execute(
        delete(tables.pruned_history).where(noted.org == expiry.org, noted.event_type.in_(unwanted))
    )
