"""Query allowed matches: those of an event, and the number of matches of each allow entry."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import func, select

from oktawatch.store import tables
from oktawatch.store.alerts import as_json
from oktawatch.store.database import Database

_allowed = tables.allowed_matches.c


class EntryUse(Struct, frozen=True, kw_only=True):
    """The matches that an entry has allowed."""

    reason: str
    """The reason stored with the matches. If it was reworded, the alphabetically last wording."""
    matches: int
    last_at: datetime
    """Event time of the latest match."""


def entry_uses(database: Database) -> dict[str, EntryUse]:
    """Return the use of each entry that has allowed a match, by the entry's id."""
    query = select(
        _allowed.entry,
        func.max(_allowed.reason).label("reason"),
        func.count().label("matches"),
        func.max(_allowed.published).label("last_at"),
    ).group_by(_allowed.entry)
    with database.read() as connection:
        return {
            row["entry"]: EntryUse(reason=row["reason"], matches=row["matches"], last_at=row["last_at"])
            for row in connection.execute(query).mappings()
        }


def allowed_matches(
    database: Database, orgs: Sequence[str], rules: Sequence[str], event_uuid: str
) -> list[dict[str, Any]]:
    """Return the allowed matches of an event as JSON objects.

    ``rules`` are the ids of all rules, for the look-up by primary key, which begins with org and rule.
    """
    query = select(tables.allowed_matches).where(
        _allowed.org.in_(orgs), _allowed.rule_id.in_(rules), _allowed.event_uuid == event_uuid
    )
    with database.read() as connection:
        return [as_json(row) for row in connection.execute(query).mappings()]
