"""Deleting what has had its time: a bounded piece a transaction, so that nobody waits long for one.

A piece takes its org's row first, as a page does: neither can stand in the other's way in any other order,
and a page finds all of a piece deleted or none of it. Who dies between two pieces has pruned less, and two
who prune at once do together what one would. Age is event time, where there is one.

An alert goes with its matches and notifications, and last: while some of its matches are gone already
nobody can read their events again, since Okta keeps them for a shorter time than the shortest retention.

History's version stays as it is. What is kept in memory of rows that are deleted here is older than
anything that a rule will look at; reading all of it anew after each piece would hold up the pages.
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
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.history_fields import PLACES
from oktawatch.store.orgs import take_org

_event_type = tables.events.c.fields[PLACES["event_type"]].as_string()


class Reading(Struct, frozen=True, kw_only=True):
    """How far an org has been read: what lies before may not come again by itself."""

    org: str
    heard_at: datetime
    """When the org was last polled; when it was registered, where it never was."""
    until: datetime | None
    """Up to where it has been polled and swept; None where it never was."""
    newest: datetime | None
    """The newest event that polling brought: from a little before it polling may have to start anew."""


class Expiry(Struct, frozen=True, kw_only=True):
    """Up to when rows of an org have had their time."""

    org: str
    events: datetime
    """Of what has been seen, and of what has no event time: rejected events and backfills."""
    history: datetime | None
    """Of what has been seen and rules may still look back at. None: they don't."""
    looked_back: timedelta
    """How far before what a backfill reads its history is needed."""
    going_on: datetime
    """A backfill that has moved since then is under way."""
    alerts: datetime
    """Of alerts by their last match, with all that is theirs."""
    sightings: datetime
    """Of sightings by their latest sign-in."""
    served: datetime
    """Of events that Okta no longer serves: nothing has to be known of them to count them once."""
    remembers: Callable[[str], bool]
    """Whether history of an event type is still written."""


class Piece(Struct, frozen=True):
    """What one transaction deleted."""

    rows: Counter[str]
    """By table."""
    more: bool
    """Whether there may be more to delete."""


Step = Callable[[Database, Expiry, int], Piece]
"""Deletes some of an org's rows, of each table as many as it is told at most."""


def readings(database: Database) -> list[Reading]:
    """Tell how far each org that the database knows has been read."""
    orgs, cursors = tables.orgs.c, tables.cursors.c
    query = select(
        orgs.name.label("org"),
        func.coalesce(orgs.last_poll_at, orgs.created_at).label("heard_at"),
        func.coalesce(cursors.swept_until, cursors.last_caught_up_at, cursors.began_at).label("until"),
        func.coalesce(cursors.last_published, cursors.began_at).label("newest"),
    ).outerjoin_from(tables.orgs, tables.cursors, cursors.org == orgs.name)
    with database.read() as connection:
        return [Reading(**row) for row in connection.execute(query.order_by(orgs.name)).mappings()]


def prune_alerts(database: Database, expiry: Expiry, most: int) -> Piece:
    """Delete alerts, each after its matches, notifications and actions."""
    with database.write() as connection:
        take_org(database, connection, expiry.org)
        expired = select(tables.alerts.c.id).where(*_expired_alerts(expiry))
        ids = list(connection.execute(expired.order_by(tables.alerts.c.last_event_at).limit(most)).scalars())
        if not ids:
            return Piece(Counter(), more=False)
        theirs = tables.matches.c.alert_id.in_(ids)
        matches = _delete(connection, tables.matches, [theirs], most)
        if matches == most:
            return Piece(Counter(matches=matches), more=True)
        told = _delete(connection, tables.notifications, [tables.notifications.c.alert_id.in_(ids)])
        actions = _delete(connection, tables.alert_actions, [tables.alert_actions.c.alert_id.in_(ids)])
        alerts = _delete(connection, tables.alerts, [tables.alerts.c.id.in_(ids)])
        pruned = Counter(matches=matches, notifications=told, alert_actions=actions, alerts=alerts)
        return Piece(pruned, more=len(ids) == most)


def prune_events(database: Database, expiry: Expiry, most: int) -> Piece:
    """Delete the oldest events that have been seen. What remains known is that there were some of a type.

    Of sign-ins that `sightings` has counted the key remains known too, as long as Okta may serve them again.
    """
    with database.write() as connection:
        take_org(database, connection, expiry.org)
        before = _events_before(connection, expiry)
        which, more = _oldest(connection, expiry.org, before, most)
        _note_what_was(connection, expiry, before, which)
        connection.execute(_keep_keys([*which, tables.events.c.published >= expiry.served]))
        return Piece(Counter(events=_delete(connection, tables.events, which)), more=more)


def prune_counted_sign_ins(database: Database, expiry: Expiry, most: int) -> Piece:
    """Delete the keys of sign-ins that Okta no longer serves."""
    with database.write() as connection:
        take_org(database, connection, expiry.org)
        deleted = _delete(connection, tables.counted_sign_ins, _no_longer_served(expiry), most)
        return Piece(Counter(counted_sign_ins=deleted), more=deleted == most)


def prune_sightings(database: Database, expiry: Expiry, most: int) -> Piece:
    """Delete the sightings whose latest sign-in is too old."""
    expired = _expired_sightings(expiry)
    key = tables.sightings.primary_key.columns.values()
    # No index has their age, which changes with each sign-in. So they are looked up before the org's row is taken.
    with database.read() as connection:
        found = connection.execute(select(*key).where(*expired).limit(most)).all()
    if not found:
        return Piece(Counter(), more=False)
    with database.write() as connection:
        take_org(database, connection, expiry.org)
        which = [*expired, tuple_(*key).in_([tuple(row) for row in found])]
        return Piece(Counter(sightings=_delete(connection, tables.sightings, which)), more=len(found) == most)


def prune_the_rest(database: Database, expiry: Expiry, most: int) -> Piece:
    """Delete rejected events and backfills."""
    with database.write() as connection:
        take_org(database, connection, expiry.org)
        rejected = _delete(connection, tables.rejected_events, _rejected(expiry), most)
        backfills = _delete(connection, tables.backfills, _backfills(expiry))
        return Piece(Counter(rejected_events=rejected, backfills=backfills), more=rejected == most)


_PRUNED = (
    tables.alerts, tables.matches, tables.notifications, tables.alert_actions, tables.events, tables.sightings,
    tables.counted_sign_ins, tables.rejected_events, tables.backfills, tables.leases,
)  # fmt: skip
PRUNED = tuple(table.name for table in _PRUNED)
"""Names of the tables from which rows are deleted."""

STEPS: tuple[Step, ...] = (
    prune_alerts, prune_events, prune_counted_sign_ins, prune_sightings, prune_the_rest,
)  # fmt: skip


def prune_messages(database: Database, before: datetime, most: int) -> Piece:
    """Delete what was said of no single alert: digests, alarms, tests."""
    with database.write() as connection:
        deleted = _delete(connection, tables.notifications, _messages(before), most)
        return Piece(Counter(notifications=deleted), more=deleted == most)


def prune_leases(database: Database, orgs: Sequence[str], before: datetime) -> Counter[str]:
    """Delete leases of orgs that nobody watches any more: neither we nor, for that long, another replica."""
    with database.write() as connection:
        return Counter(leases=_delete(connection, tables.leases, _left(orgs, before)))


def count_expired(database: Database, expiry: Expiry) -> Counter[str]:
    """Count what of an org would be deleted, by table."""
    alerts = _expired_alerts(expiry)
    ids = select(tables.alerts.c.id).where(*alerts)
    wanted: list[tuple[Table, Sequence[ColumnElement[bool]]]] = [
        (tables.alerts, alerts),
        (tables.matches, [tables.matches.c.alert_id.in_(ids)]),
        (tables.notifications, [tables.notifications.c.alert_id.in_(ids)]),
        (tables.alert_actions, [tables.alert_actions.c.alert_id.in_(ids)]),
        (tables.counted_sign_ins, _no_longer_served(expiry)),
        (tables.sightings, _expired_sightings(expiry)),
        (tables.rejected_events, _rejected(expiry)),
        (tables.backfills, _backfills(expiry)),
    ]
    with database.read() as connection:
        wanted.append((tables.events, _before(expiry.org, _events_before(connection, expiry))))
        return Counter({table.name: _count(connection, table, which) for table, which in wanted})


def count_the_rest(
    database: Database, orgs: Sequence[str], *, messages: datetime, leases: datetime
) -> Counter[str]:
    """Count what belongs to none of the orgs and would be deleted."""
    with database.read() as connection:
        return Counter(
            notifications=_count(connection, tables.notifications, _messages(messages)),
            leases=_count(connection, tables.leases, _left(orgs, leases)),
        )


def _expired_alerts(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    alerts = tables.alerts.c
    # Whatever its status: an index begins with that.
    return (alerts.status.in_(AlertStatus), alerts.last_event_at < expiry.alerts, alerts.org == expiry.org)


def _before(org: str, moment: datetime) -> Sequence[ColumnElement[bool]]:
    return (tables.events.c.org == org, tables.events.c.published < moment)


def _events_before(connection: Connection, expiry: Expiry) -> datetime:
    """Say up to when events have had their time just now: a backfill may have begun since we last looked.

    One that begins takes the org's row, as we have: what it reads stays from its first page on.
    """
    if expiry.history is None:
        return expiry.events
    columns = tables.backfills.c
    under_way = select(func.min(columns.since)).where(
        columns.org == expiry.org, columns.finished_at.is_(None), columns.updated_at > expiry.going_on
    )
    since: datetime | None = connection.execute(under_way).scalar_one()
    needed = expiry.history if since is None else min(expiry.history, since - expiry.looked_back)
    return min(expiry.events, needed)


def _keep_keys(which: Sequence[ColumnElement[bool]]) -> Insert:
    """Return the statement that notes the keys of the sign-ins among these events, unless they are noted already."""
    events, noted = tables.events.c, tables.counted_sign_ins.c
    is_noted = exists().where(
        noted.org == events.org, noted.published == events.published, noted.uuid == events.uuid
    )
    sign_ins = select(events.org, events.published, events.uuid).where(
        *which, _event_type == SIGN_IN, ~is_noted
    )
    return tables.counted_sign_ins.insert().from_select(["org", "published", "uuid"], sign_ins)


def _no_longer_served(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.counted_sign_ins.c
    return (columns.org == expiry.org, columns.published < expiry.served)


def _expired_sightings(expiry: Expiry) -> Sequence[ColumnElement[bool]]:
    columns = tables.sightings.c
    return (columns.org == expiry.org, columns.last_at < expiry.sightings)


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


def _left(orgs: Sequence[str], before: datetime) -> Sequence[ColumnElement[bool]]:
    return (tables.leases.c.org.not_in(orgs), tables.leases.c.expires_at < before)


def _count(connection: Connection, table: Table, which: Sequence[ColumnElement[bool]]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(*which)).scalar_one()


def _delete(
    connection: Connection, table: Table, which: Sequence[ColumnElement[bool]], most: int | None = None
) -> int:
    """Delete some rows; give how many."""
    if most is not None:
        key = table.primary_key.columns.values()
        which = [tuple_(*key).in_(select(*key).where(*which).limit(most))]
    return connection.execute(delete(table).where(*which)).rowcount


def _oldest(
    connection: Connection, org: str, before: datetime, most: int
) -> tuple[Sequence[ColumnElement[bool]], bool]:
    """Say which are the oldest events, as a range of the key, and whether there are more of that age."""
    which = _before(org, before)
    key = (tables.events.c.published, tables.events.c.uuid)
    last = connection.execute(select(*key).where(*which).order_by(*key).offset(most - 1).limit(1)).first()
    if last is None:
        return which, False
    there = (literal(value, column.type) for value, column in zip(last, key, strict=True))
    return (*which, tuple_(*key) <= tuple_(*there)), True


def _note_what_was(
    connection: Connection, expiry: Expiry, before: datetime, which: Sequence[ColumnElement[bool]]
) -> None:
    """Remember of which types there was history before, as long as any is written of them."""
    noted = tables.pruned_history.c
    going = connection.execute(select(_event_type).where(*which).distinct()).scalars()
    wanted = sorted(kind for kind in going if kind is not None and expiry.remembers(kind))
    columns = ("org", "event_type", "before")
    insert_new(connection, tables.pruned_history, [(expiry.org, kind, before) for kind in wanted], columns)
    later = (noted.org == expiry.org, noted.event_type.in_(wanted), noted.before < before)
    connection.execute(update(tables.pruned_history).where(*later).values(before=before))
    known = connection.execute(select(noted.event_type).where(noted.org == expiry.org)).scalars()
    unwanted = [kind for kind in known if not expiry.remembers(kind)]
    connection.execute(
        delete(tables.pruned_history).where(noted.org == expiry.org, noted.event_type.in_(unwanted))
    )
