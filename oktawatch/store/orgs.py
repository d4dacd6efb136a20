"""The rows of orgs, which every page transaction locks and `status` shows."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, bindparam, case, select, update

from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError

_ROW = (
    select(tables.orgs.c.history_version)
    .where(tables.orgs.c.name == bindparam("org"))
    .with_for_update(key_share=True)  # allows concurrent inserts of rows that refer to the org
)
_RECORD_FAILURE = update(tables.orgs).where(tables.orgs.c.name == bindparam("org"))
_LONGEST_ERROR = 1_000  # characters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_last_change = tables.orgs.c.alert_change_id
_NEXT_CHANGE = (
    update(tables.orgs)
    .where(tables.orgs.c.name == bindparam("org"))
    .values(
        alert_change_id=case((_last_change >= bindparam("time"), _last_change + 1), else_=bindparam("time"))
    )
    .returning(_last_change)
)


def register_orgs(database: Database, names: Sequence[str], *, now: datetime) -> None:
    """Insert a row for each org that has none."""
    with database.write() as connection:
        insert_new(connection, tables.orgs, [(name, now) for name in sorted(names)], ("name", "created_at"))


def lock_org(database: Database, connection: Connection, org: str) -> str | None:
    """Lock an org's row before changing the org's events, alerts or cursor; return the version of the org's history.

    The version changes whenever any process adds rows to the history. Raises StoreError for an unknown org.
    """
    row = database.lock_row(connection, _ROW, {"org": org})
    if row is None:
        raise StoreError(f"org {org} has no row in this database: it was never registered")
    version: str | None = row.history_version
    return version


def next_change(connection: Connection, org: str, *, now: datetime) -> int:
    """Return the change number for a transaction that has locked an org's row and changes the org's alerts.

    The lock is held until the commit, so changes become visible in the order of their numbers: a reader that saw a
    number has seen all smaller ones. A number is at least the time in milliseconds, so that numbers continue to grow after
    the database was replaced or restored from a backup.
    """
    values = {"org": org, "time": (now - _EPOCH) // timedelta(milliseconds=1)}
    number: int = connection.execute(_NEXT_CHANGE, values).scalar_one()
    return number


def record_failure(database: Database, org: str, error: str, *, now: datetime) -> None:
    """Store the error of an org's poll. The next successful poll clears it: see `cursors.move_cursor`."""
    values = {"org": org, "last_poll_at": now, "last_error": error[:_LONGEST_ERROR], "last_error_at": now}
    with database.write() as connection:
        connection.execute(_RECORD_FAILURE, values)


def polled_rules(database: Database, orgs: Sequence[str]) -> dict[str, set[str] | None]:
    """Return the rules that each org was last polled with, or None for an org that was never polled."""
    with database.read() as connection:
        rows = connection.execute(select(tables.orgs.c.name, tables.orgs.c.rules)).all()
    known = {name: set(json.loads(rules)) for name, rules in rows if rules is not None}
    return {org: known.get(org) for org in orgs}


def store_polled_rules(database: Database, orgs: Sequence[str], rules: Iterable[str]) -> None:
    """Store the rules that these orgs are polled with from now on."""
    written = json.dumps(sorted(rules))
    with database.write() as connection:
        connection.execute(
            update(tables.orgs).where(tables.orgs.c.name == bindparam("org")).values(rules=written),
            [{"org": org} for org in sorted(orgs)],
        )
