"""What was recorded of single events: matches that alerts hold, and signals."""

from datetime import datetime

from sqlalchemy import func, select

from oktawatch.store import tables
from oktawatch.store.database import Database


def count_matches(database: Database, *, since: datetime) -> int:
    """Count the matches and signals of events published since a point in time."""
    with database.read() as connection:
        return sum(
            connection.execute(
                select(func.count()).select_from(table).where(table.c.published >= since)
            ).scalar_one()
            for table in (tables.matches, tables.signals)
        )
