"""The state of backfills: where to resume after an interruption."""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, desc, select, update

from oktawatch.model.cursor import Backfill
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import CursorMovedError
from oktawatch.store.orgs import lock_org
from oktawatch.store.page_transaction import PageTransaction

_columns = tables.backfills.c
_RESUMABLE_FOR = timedelta(hours=24)
_MOVE = update(tables.backfills).where(
    _columns.id == bindparam("backfill_id"),
    _columns.cursor == bindparam("read_cursor"),
    _columns.finished_at.is_(None),
)


def begin_backfill(
    database: Database,
    org: str,
    *,
    command: str,
    filter: str,  # noqa: A002 -- Okta's own name for it
    since: datetime,
    until: datetime,
    notify: bool,
    query: str,
    now: datetime,
) -> Backfill:
    """Begin a backfill, or resume an unfinished one that the same command began within the last 24 hours.

    A resumed backfill keeps its first ``since`` and ``until``. A backfill with another ``notify`` or ``filter`` is not
    resumed. If two processes begin the same backfill at once, they share its row.
    """
    with database.write() as connection:
        lock_org(database, connection, org)
        unfinished = (
            select(tables.backfills)
            .where(
                _columns.org == org,
                _columns.command == command,
                _columns.filter == filter,  # the stored link contains the filter
                _columns.notify == notify,
                _columns.finished_at.is_(None),
                _columns.started_at > now - _RESUMABLE_FOR,
            )
            .order_by(desc(_columns.id))
            .limit(1)
        )
        row = connection.execute(unfinished).mappings().first()
        if row is None:
            begun = tables.backfills.insert().values(
                org=org, command=command, filter=filter, since=since, until=until, notify=notify, cursor=query,
                started_at=now, updated_at=now, pages=0, events=0, new_events=0, matches=0, alerts=0,
            ).returning(tables.backfills)  # fmt: skip
            row = connection.execute(begun).mappings().one()
    return Backfill(
        query=row["cursor"],
        **{name: row[name] for name in Backfill.__struct_fields__ if name != "query"},
    )


def move_backfill(transaction: PageTransaction, read: Backfill, to: Backfill, *, finished: bool) -> None:
    """Move a backfill's cursor to the end of the page.

    Raises CursorMovedError if another process has moved the cursor or finished the backfill.
    """
    values = {
        "backfill_id": read.id,
        "read_cursor": read.query,
        "cursor": to.query,
        "updated_at": transaction.now,
        "finished_at": transaction.now if finished else None,
        "pages": to.pages,
        "events": to.events,
        "new_events": to.new_events,
        "matches": to.matches,
        "alerts": to.alerts,
    }
    if transaction.connection.execute(_MOVE, values).rowcount != 1:
        raise CursorMovedError(f"the same backfill of {transaction.org} is being run by another process")
