"""The numbers that `/metrics` and `/readyz` read from the database. Cheap enough for a scrape every few seconds."""

from msgspec import Struct

from oktawatch.model.notification import NotificationState
from oktawatch.store.database import Database
from oktawatch.store.space import Space, read_space_within
from oktawatch.store.status import PollState, count_undone_within, poll_states


class Gauges(Struct, frozen=True, kw_only=True):
    """The state of the database at a point in time."""

    orgs: dict[str, PollState]
    """The polling of each org in the database, by name."""
    outbox: dict[NotificationState, int]
    """The number of pending notifications and of dead letters."""
    space: Space


def read_gauges(database: Database) -> Gauges:
    """Read all numbers in one transaction. Raise StoreError if the database can't be read."""
    with database.read() as connection:
        return Gauges(
            orgs=poll_states(connection),
            outbox=count_undone_within(connection),
            space=read_space_within(database, connection),
        )
