"""Databases for tests, with the schema of the real migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, MetaData, String, Table, delete, select

from oktawatch.model.history import COLUMNS, FLAGS
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.orgs import register_orgs
from oktawatch.store.schema import current, upgrade
from oktawatch.store.types import Moment
from tests.support.places import Place, migrated_file

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
ORG = "acme"
_TYPES = {"as_number": BigInteger} | dict.fromkeys(FLAGS, Boolean)
HISTORY = Table(
    "history",
    MetaData(),
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("uuid", String, primary_key=True),
    *(Column(name, _TYPES.get(name, String)) for name in COLUMNS[2:]),
)
SIGNALS = Table(
    "signals",
    MetaData(),
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("event_uuid", String, primary_key=True),
    Column("rule_id", String, primary_key=True),
)
VIEWS = {view.name: view for view in (HISTORY, SIGNALS)}
"""The tables and views that users query with SQL."""


class DiedError(Exception):
    """The process died before the page was committed."""


def create_schema(database: Database) -> None:
    """Create the current schema if it is missing."""
    file = database.file
    if file is not None and not file.exists():
        file.write_bytes(migrated_file())
    if current(database) != tables.REVISION:
        upgrade(database)


@contextmanager
def open_database(place: Place, *orgs: str) -> Iterator[Database]:
    """Yield the place's database with a schema, in which ``acme`` and the other orgs are registered."""
    database = Database(place.url, create=True)
    create_schema(database)
    register_orgs(database, [ORG, *orgs], now=NOW)
    try:
        yield database
    finally:
        database.close()


def empty(database: Database) -> None:
    """Delete all rows except those of orgs."""
    with database.write() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            if table is not tables.orgs:
                connection.execute(delete(table))


def rows(database: Database, name: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the rows of a table or view ordered by key, without some columns."""
    table = VIEWS[name] if name in VIEWS else tables.metadata.tables[name]
    with database.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        return [{key: value for key, value in row.items() if key not in without} for row in found]


def outcome(database: Database) -> dict[str, Any]:
    """Return the rows that reading a stream has stored, without ids and processing times, which may vary.

    In matches and notifications, the alert's rule, key and anchor replace its id.
    """
    alerts = rows(database, "alerts", without=("created_at", "updated_at", "change_id"))
    names: dict[int | None, Any] = {
        alert.pop("id"): (alert["rule_id"], alert["dedup_key"], alert["anchor"]) for alert in alerts
    }
    names[None] = None
    matches = rows(database, "matches")
    notifications = rows(database, "notifications", without=("created_at", "next_attempt_at"))
    for row in [*matches, *notifications]:
        row["alert"] = names[row.pop("alert_id")]
    return {
        "events": rows(database, "events"),
        "alerts": sorted(alerts, key=lambda alert: (alert["rule_id"], alert["dedup_key"], alert["anchor"])),
        "matches": matches,
        "allowed": rows(database, "allowed_matches"),
        "signals": rows(database, "signals"),
        "notifications": notifications,
        "rejected": rows(database, "rejected_events", without=("received_at",)),
    }
