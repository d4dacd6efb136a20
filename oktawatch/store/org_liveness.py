"""When each org was last heard of: what the silence alarm goes by."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from oktawatch.model.rejected_share import RejectedShare
from oktawatch.store import tables
from oktawatch.store.database import Database


class OrgLiveness(Struct, frozen=True, kw_only=True):
    """When an org was heard of."""

    org: str
    success_at: datetime
    """When a poll last committed a page; when the org was registered, where none ever did."""
    polled_at: datetime | None
    """When its last poll ended, well or badly."""
    error: str | None
    """What that one failed of."""
    recent_elements: int
    recent_rejected: int

    @property
    def rejected_share(self) -> RejectedShare:
        """Which share of what polling brought lately could not be used."""
        return RejectedShare(elements=self.recent_elements, rejected=self.recent_rejected)


def read_liveness(database: Database) -> dict[str, OrgLiveness]:
    """Give it for each org that the database knows, by name."""
    orgs, cursors = tables.orgs.c, tables.cursors.c
    query = select(
        orgs.name.label("org"),
        func.coalesce(cursors.updated_at, orgs.created_at).label("success_at"),
        orgs.last_poll_at.label("polled_at"),
        orgs.last_error.label("error"),
        orgs.recent_elements,
        orgs.recent_rejected,
    ).outerjoin_from(tables.orgs, tables.cursors, cursors.org == orgs.name)
    with database.read() as connection:
        return {row["org"]: OrgLiveness(**row) for row in connection.execute(query).mappings()}
