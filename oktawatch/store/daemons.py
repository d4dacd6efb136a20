"""The running daemons. Each writes its row every half minute, which also tests the database.

A daemon that stops deletes its row. The row of a killed daemon remains, so that `oktawatch status` can report it. A new
daemon with the same name replaces the row. Other daemons delete it: on SQLite with their first write, on Postgres when the
row is a day old.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct
from sqlalchemy import delete, select

from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database

_columns = tables.daemons.c
_KEPT_FOR = timedelta(days=1)


class WaitReason(StrEnum):
    """Why an org is not polled now."""

    RATE_LIMIT = "rate_limit"
    """The next request waits until Okta's rate limit allows it."""
    BACK_OFF = "back_off"
    """The last poll failed."""


class Wait(Struct, frozen=True, kw_only=True):
    """A wait before the next request or poll of an org."""

    until: datetime
    """By the clock that all users of the database share."""
    reason: WaitReason


class DaemonRow(Struct, frozen=True, kw_only=True):
    """A daemon as it last wrote about itself."""

    name: str
    """`service.instance` or the host name."""
    version: str
    started_at: datetime
    seen_at: datetime
    """When the daemon last wrote its row, by the clock that all users of the database share."""
    state: str
    """A summary for people, such as ``watching 3 orgs, 1 failing: acme``."""
    waits: dict[str, Wait] = {}
    """The waits of orgs, by name. Orgs that wait for their usual interval are absent."""


def write_daemon(database: Database, row: DaemonRow) -> None:
    """Replace a daemon's row, and delete outdated rows of other daemons. Raises StoreError.

    On Postgres, a row is outdated after a day. On SQLite, all other rows are, because only one daemon runs at a time. The
    daemon's row is deleted and inserted, not updated, to test the database: a full disk may still accept an update.
    """
    others = _columns.seen_at < row.seen_at - _KEPT_FOR if database.shared else _columns.name != row.name
    values = (row.name, row.version, row.started_at, row.seen_at, row.state, _encode(row.waits))
    with database.write() as connection:
        connection.execute(delete(tables.daemons).where((_columns.name == row.name) | others))
        insert_new(connection, tables.daemons, [values], tuple(tables.daemons.columns.keys()))


def delete_daemon(database: Database, name: str, *, started_at: datetime) -> None:
    """Delete the row of a daemon that stops, unless another process has taken over its name. Raises StoreError."""
    with database.write() as connection:
        connection.execute(
            delete(tables.daemons).where(_columns.name == name, _columns.started_at == started_at)
        )


def read_daemons(database: Database) -> list[DaemonRow]:
    """Return the rows of all daemons, the latest written first."""
    with database.read() as connection:
        rows = connection.execute(select(tables.daemons).order_by(_columns.seen_at.desc(), _columns.name))
        return [DaemonRow(**{**row, "waits": _decode(row["waits"])}) for row in rows.mappings()]


def _encode(waits: dict[str, Wait]) -> str:
    return msgspec.json.encode(waits).decode()


def _decode(waits: str) -> dict[str, Wait]:
    return msgspec.json.decode(waits, type=dict[str, Wait])
