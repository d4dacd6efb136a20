"""Copy a database from an SQLite file to a Postgres server.

`events` is by far the largest table. It is copied first, in the order of its key and in batches, so that an
interrupted copy continues after the last row that arrived. All other tables follow in one transaction, which
ends by comparing the numbers of rows. So once the server has orgs, the copy is complete. A further call then only
compares these numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, literal, select, text, tuple_

from oktawatch.store import tables
from oktawatch.store.bulk_insert import insert_new
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.schema import current, require_current, upgrade

_NOT_COPIED = (tables.daemons, tables.replicas, tables.leases)  # they describe running processes
_OTHER_TABLES = tuple(
    table for table in tables.metadata.sorted_tables if table not in (tables.events, *_NOT_COPIED)
)
_BATCH_ROWS = 5_000

Progress = Callable[[str, int], None]
"""Called with a table's name and the number of its rows that have arrived."""


def copy(file: Database, server: Database, *, progress: Progress) -> dict[str, int]:
    """Copy an SQLite file to Postgres, except the tables in `_NOT_COPIED`; return the number of rows of each table.

    No process may write to the file meanwhile. A second call continues an interrupted copy, and does nothing
    if the copy is complete. Raises StoreError if an operation fails or the server's database holds other rows.
    """
    require_current(file)
    if current(server) is None:
        upgrade(server)
    require_current(server)
    with file.read() as reading:
        expected = _counts(reading)
        with server.read() as connection:
            found = _counts(connection)
        if found["orgs"] == 0:
            _copy_events(reading, server, found[tables.events.name], progress)
            found = _copy_other_tables(reading, server, expected)
    _verify(expected, found)
    return expected


def _copy_events(reading: Connection, server: Database, arrived: int, progress: Progress) -> None:
    table = tables.events
    key = [table.c.org, table.c.published, table.c.uuid]
    # Compare by bytes, as SQLite does. The server's default order depends on its locale.
    latest = [column.collate("C").desc() if column.name != "published" else column.desc() for column in key]
    with server.read() as connection:
        last = connection.execute(select(*key).order_by(*latest).limit(1)).first()
    rows = select(table).order_by(*key)
    if last is not None:
        last_key = (literal(value, column.type) for value, column in zip(last, key, strict=True))
        rows = rows.where(tuple_(*key) > tuple_(*last_key))
    for batch in _batches(reading, rows):
        with server.write() as writing:
            arrived += insert_new(writing, table, batch, _names(table.columns))
        progress(table.name, arrived)


def _copy_other_tables(reading: Connection, server: Database, expected: dict[str, int]) -> dict[str, int]:
    with server.write() as writing:
        server.lock_schema(writing)
        for table in _OTHER_TABLES:
            for batch in _batches(reading, select(table)):
                insert_new(writing, table, batch, _names(table.columns))
        for name, last in reading.execute(text("SELECT name, seq FROM sqlite_sequence")):
            # Continue after the last id, because ids are never reused, not even those of pruned rows.
            sequence = func.pg_get_serial_sequence(name, "id")
            # SQLite stores 0 for a table that never had a row. A Postgres sequence starts at 1.
            writing.execute(select(func.setval(sequence, max(last, 1), last > 0)))
        found = _counts(writing)
        _verify(expected, found)
    return found


def _batches(reading: Connection, query: Any) -> Iterator[Sequence[tuple[Any, ...]]]:
    found = reading.execution_options(yield_per=_BATCH_ROWS).execute(query)
    for batch in found.partitions():
        yield [tuple(row) for row in batch]


def _names(columns: Any) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


def _counts(connection: Connection) -> dict[str, int]:
    def count(table: Table) -> int:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()

    return {table.name: count(table) for table in (tables.events, *_OTHER_TABLES)}


def _verify(expected: dict[str, int], found: dict[str, int]) -> None:
    wrong = [
        f"{name} has {found[name]} rows of {count}"
        for name, count in expected.items()
        if found[name] != count
    ]
    if wrong:
        raise StoreError(
            f"the copy is incomplete ({', '.join(wrong)}): stop every process that uses the file, and copy to an "
            "empty database"
        )
