"""When each org was last polled, for the silence alarm."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from oktawatch.model.rejected_share import RejectedShare
from oktawatch.store import tables
from oktawatch.store.database import Database

_orgs, _cursors = tables.orgs.c, tables.cursors.c
_LIVENESS = select(
    _orgs.name.label("org"),
    func.coalesce(_cursors.updated_at, _orgs.created_at).label("success_at"),
    _orgs.last_poll_at.label("polled_at"),
    _orgs.last_error.label("error"),
    _orgs.recent_elements,
    _orgs.recent_rejected,
).outerjoin_from(tables.orgs, tables.cursors, _cursors.org == _orgs.name)


class OrgLiveness(Struct, frozen=True, kw_only=True):
    """When and how an org was last polled."""

    org: str
    success_at: datetime
    """When a poll last succeeded: see `cursors.move_cursor`. If none ever did, when the org was registered."""
    polled_at: datetime | None
    """When a poll last committed a page or failed."""
    error: str | None
    """The error of the last poll, or None if it succeeded."""
    recent_elements: int
    """Elements of recent polls, where older ones have less weight: see `cursors`."""
    recent_rejected: int
    """The elements among them that were no usable events."""

    @property
    def rejected_share(self) -> RejectedShare:
        """The share of recently polled elements that could not be used."""
        return RejectedShare(elements=self.recent_elements, rejected=self.recent_rejected)


def read_liveness(database: Database) -> dict[str, OrgLiveness]:
    """Return the liveness of each org in the database, by name."""
    with database.read() as connection:
        return {row["org"]: OrgLiveness(**row) for row in connection.execute(_LIVENESS).mappings()}
