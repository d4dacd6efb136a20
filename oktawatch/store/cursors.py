"""The polling cursors. They are read before a poll and moved within a page's transaction."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, case, select, update

from oktawatch.model.cursor import Cursor
from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.errors import CursorMovedError
from oktawatch.store.orgs import lock_org
from oktawatch.store.page_transaction import PageTransaction

_columns = tables.cursors.c
_orgs = tables.orgs.c
_RECENT = 100
"""When an org's ``recent_elements`` exceed this, both of its recent counts are halved, so that old elements lose weight."""
# Statements are built once, because building one costs SQLAlchemy as much as running it.
_READ = select(
    _columns.filter,
    _columns.cursor.label("query"),
    _columns.page_size,
    _columns.began_at,
    _columns.restart_at,
    _columns.last_published,
    _columns.last_caught_up_at,
).where(_columns.org == bindparam("org"))
_MOVE = update(tables.cursors).where(
    _columns.org == bindparam("locked_org"), _columns.cursor == bindparam("read_cursor")
)
_RECORD_POLL = update(tables.orgs).where(_orgs.name == bindparam("locked_org"))
_elements = _orgs.recent_elements + bindparam("elements")
_rejected = _orgs.recent_rejected + bindparam("rejected")
_COUNT_ELEMENTS = (
    update(tables.orgs)
    .where(_orgs.name == bindparam("locked_org"))
    .values(
        recent_elements=case((_elements > _RECENT, _elements // 2), else_=_elements),
        recent_rejected=case((_elements > _RECENT, _rejected // 2), else_=_rejected),
    )
)


def read_cursor(database: Database, org: str) -> Cursor | None:
    """Return an org's cursor, or None if no polled page of the org was ever committed."""
    with database.read() as connection:
        return _read(connection, org)


def move_cursor(
    transaction: PageTransaction, read: Cursor | None, to: Cursor, *, progress: bool = True
) -> None:
    """Move the org's cursor to the end of a polling page, and record the successful poll.

    ``read`` is the cursor that the page was read with, None for the org's first page. Without ``progress``
    the poll is not recorded as successful: pages that repeat must not end the alarm about a silent org. The first page
    is always recorded as successful, because it can't repeat another page.
    Raises CursorMovedError if another writer has moved the cursor, so that the whole page is rolled back.
    """
    values = {
        "filter": to.filter,
        "cursor": to.query,
        "page_size": to.page_size,
        "began_at": to.began_at,
        "restart_at": to.restart_at,
        "last_published": to.last_published,
        "updated_at": transaction.now,
        "last_caught_up_at": to.last_caught_up_at,
    }
    if read is None:
        row = ((transaction.org, *values.values()),)
        moved = insert_new(transaction.connection, tables.cursors, row, ("org", *values))
    else:
        if not progress:
            del values["updated_at"]
        where = {"locked_org": transaction.org, "read_cursor": read.query}
        moved = transaction.connection.execute(_MOVE, values | where).rowcount
    if moved != 1:
        raise CursorMovedError(f"the cursor of {transaction.org} was moved by another writer")
    if not progress and read is not None:
        return
    polled = {"last_poll_at": transaction.now, "last_error": None, "last_error_at": None}
    transaction.connection.execute(_RECORD_POLL, {"locked_org": transaction.org, **polled})


def count_elements(transaction: PageTransaction, *, elements: int, rejected: int) -> None:
    """Add a polling page's elements and rejected elements to the org's recent counts: see `_RECENT`."""
    if not elements:
        return
    counts = {"locked_org": transaction.org, "elements": elements, "rejected": rejected}
    transaction.connection.execute(_COUNT_ELEMENTS, counts)


def read_swept_until(database: Database, org: str) -> datetime | None:
    """Return the event time up to which an org has been swept, or None if it never was."""
    with database.read() as connection:
        return connection.execute(select(_columns.swept_until).where(_columns.org == org)).scalar()


def mark_swept(database: Database, org: str, until: datetime) -> None:
    """Store the event time up to which an org has been swept."""
    with database.write() as connection:
        lock_org(database, connection, org)
        connection.execute(update(tables.cursors).where(_columns.org == org).values(swept_until=until))


def _read(connection: Connection, org: str) -> Cursor | None:
    row = connection.execute(_READ, {"org": org}).mappings().first()
    return None if row is None else Cursor(**row)
