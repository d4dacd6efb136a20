"""The orgs' own rows: what every page transaction locks, and what `status` shows."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update

from oktawatch.store import tables
from oktawatch.store.bulk import insert_new
from oktawatch.store.database import Database

_LONGEST_ERROR = 1_000  # characters


def register_orgs(database: Database, names: Sequence[str], *, now: datetime) -> None:
    """Give each org its row, unless it has one."""
    with database.write() as connection:
        insert_new(connection, tables.orgs, [(name, now) for name in names], ("name", "created_at"))


def record_failure(database: Database, org: str, error: str, *, now: datetime) -> None:
    """Remember what an org's poll failed of. The next page that is committed clears it."""
    values = {"last_poll_at": now, "last_error": error[:_LONGEST_ERROR], "last_error_at": now}
    with database.write() as connection:
        connection.execute(update(tables.orgs).where(tables.orgs.c.name == org).values(values))
