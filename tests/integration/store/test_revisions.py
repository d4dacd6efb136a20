"""The revisions that copy events and history keep every value, when upgrading and downgrading."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from oktawatch.model.history import COLUMNS, HistoryRow, SeenQuery
from oktawatch.model.timestamps import FIRST, LAST, to_text
from oktawatch.store.database import Database
from oktawatch.store.events import add_events
from oktawatch.store.history import StoredHistory
from oktawatch.store.schema import downgrade, upgrade
from tests.support.databases import HISTORY, NOW, ORG, rows
from tests.support.places import Kind, Place, place_of
from tests.support.program import eventually

COLUMNS_OF_HISTORY, ARRAYS, ONE_ROW, FEWER_COLUMNS = "0007", "0008", "0009", "0013"
OLD = COLUMNS[: COLUMNS.index("country")]
"""The columns of history at these revisions."""
TEXTS = (
    'Ann "the\\" O\'Neil', "\\u0041 \\x41 \\", "\u2028\u2029\u00e9\U0001f600\x7f\x1f\x01\t\r\n", "[null]", "%s ? :b $1",
    "NULL", "1", "x" * 100_000,
)  # fmt: skip


def history_rows() -> list[HistoryRow]:
    """Return rows with unusual texts, with all values, and with none."""
    filled: list[HistoryRow] = []
    for number, text in enumerate(TEXTS):
        row = HistoryRow(to_text(NOW + number * timedelta(milliseconds=1)), f"{number}", text)
        for name in OLD[2:]:
            setattr(row, name, text)
        row.is_proxy = (True, False, None)[number % 3]
        filled.append(row)
    return [*filled, HistoryRow(FIRST, "first", ""), HistoryRow(LAST, "last", "zone.update", is_proxy=True)]


@contextmanager
def old_database(kind: Kind, folder: Path) -> Iterator[tuple[Place, Database]]:
    """Yield a database of the old revision with these rows."""
    names = ["org", *OLD]
    with place_of(kind, folder, schema=False) as place:
        made = Database(place.url, create=True)
        upgrade(made, COLUMNS_OF_HISTORY)
        placeholders = ", ".join(["%s" if made.shared else "?"] * len(names))
        statement = f"INSERT INTO history ({', '.join(names)}) VALUES ({placeholders})"  # noqa: S608 -- columns' names
        with made.write() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO orgs (name, created_at) VALUES ('{ORG}', '{to_text(NOW)}')"  # noqa: S608 -- this test's own
            )
            for row in history_rows():
                connection.exec_driver_sql(statement, (ORG, *row.columns[: len(OLD)]))
        yield place, made
        made.close()


@pytest.fixture
def database(kind: Kind, tmp_path: Path) -> Iterator[Database]:
    """Yield a database of the old revision."""
    with old_database(kind, tmp_path) as (_, made):
        yield made


def types_of(database: Database) -> list[tuple[Any, ...]]:
    """Return the names and types of history's columns, as SQL shows them."""
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'history' ORDER BY ordinal_position"
    if not database.shared:
        # SQLite types each value, and the column's type determines how numbers and texts compare.
        query = ", ".join(f"typeof({name}), {name} = 1, {name} = '1'" for name in ("org", *OLD))
        query = f"SELECT {query} FROM history ORDER BY org, published, uuid"  # noqa: S608 -- columns' names
    with database.read() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    return found[: len(OLD) + 1] if database.shared else found


def history_of(database: Database) -> list[dict[str, Any]]:
    """Return the columns that history had at these revisions, in the order of their keys."""
    columns = [HISTORY.c[name] for name in ("org", *OLD)]
    with database.read() as connection:
        found = connection.execute(select(*columns).order_by(*HISTORY.primary_key.columns)).mappings()
        return [dict(row) for row in found]


def test_history_is_the_same_before_and_after_the_migrations(database: Database) -> None:
    """Upgrades and downgrades keep the values and types of history, as SQL and as rules see them."""
    before, types = history_of(database), types_of(database)
    assert len(before) == len(history_rows())
    for revision in (ARRAYS, ONE_ROW):
        upgrade(database, revision)
        assert (history_of(database), types_of(database)) == (before, types)
    with database.read() as connection:
        history = StoredHistory(connection, ORG)
        found = history.between(FIRST, LAST, max_bytes=100_000_000) or []
        queries = [SeenQuery(text, FIRST, LAST, "another") for text in TEXTS]
        proxied = history.seen("actor_id", queries, event_types=["*"], conditions={"is_proxy": True})
    # As text, because True equals 1.
    assert sorted(map(repr, found)) == sorted(map(repr, history_rows()))
    assert proxied == [number % 3 == 0 for number in range(len(TEXTS))]
    for revision in (ARRAYS, COLUMNS_OF_HISTORY):
        downgrade(database, revision)
        assert (history_of(database), types_of(database)) == (before, types)


def test_history_gets_more_columns(database: Database) -> None:
    """Stored rows survive an upgrade and a downgrade, without values in the new columns."""
    upgrade(database, FEWER_COLUMNS)
    before, types = history_of(database), types_of(database)
    upgrade(database)
    assert (history_of(database), types_of(database)) == (before, types)
    added = set(COLUMNS) - set(OLD)
    assert all(row[name] is None for row in rows(database, "history") for name in added)
    newer = HistoryRow(to_text(NOW), "newer", "x", country="Norway", as_number=2**40, client_zone="Office")
    with database.write() as connection:
        add_events(connection, ORG, [newer], [newer])
        (found,) = [
            row
            for row in StoredHistory(connection, ORG).between(FIRST, LAST, max_bytes=100_000_000) or []
            if row.uuid == "newer"
        ]
    assert found == newer
    (shown,) = [row for row in rows(database, "history") if row["uuid"] == "newer"]
    assert (shown["country"], shown["as_number"], shown["city"]) == ("Norway", 2**40, None)
    downgrade(database, FEWER_COLUMNS)
    assert [row for row in history_of(database) if row["uuid"] != "newer"] == before
    upgrade(database)
    assert [row["country"] for row in rows(database, "history") if row["uuid"] == "newer"] == ["Norway"]


def test_three_tables_become_one_row_per_event(database: Database) -> None:
    """The migration combines the rows of an event in all three tables, even if some are missing."""
    upgrade(database, ARRAYS)
    at = to_text(NOW)
    with database.write() as connection:
        for uuid in ("seen", "seen and signalled", "0"):
            values = f"('acme', '{at}', '{uuid}')"
            connection.exec_driver_sql(f"INSERT INTO events (org, published, uuid) VALUES {values}")  # noqa: S608 -- this test's own
        for uuid, rule in (
            ("seen and signalled", "B"),
            ("seen and signalled", "A"),
            ("0", "A"),
            ("gone", "A"),
        ):
            values = f"('acme', '{at}', '{uuid}', '{rule}')"
            connection.exec_driver_sql(f"INSERT INTO signals VALUES {values}")  # noqa: S608 -- this test's own
    history, signals, seen = (stored_rows(database, name) for name in ("history", "signals", "events"))
    upgrade(database, ONE_ROW)
    assert (stored_rows(database, "history"), stored_rows(database, "signals")) == (history, signals)
    # Each history row and signal belongs to an event, even where the event's own row was missing.
    assert stored_rows(database, "events") == sorted(
        {*seen, *(row[:3] for row in history), *(row[:3] for row in signals)}
    )
    downgrade(database, ARRAYS)
    assert (stored_rows(database, "history"), stored_rows(database, "signals")) == (history, signals)


def stored_rows(database: Database, name: str) -> list[tuple[Any, ...]]:
    """Return up to four columns of a table's rows, as sorted texts."""
    columns = {
        "history": "org, published, uuid, event_type",
        "signals": "org, published, event_uuid, rule_id",
    }
    query = f"SELECT {columns.get(name, 'org, published, uuid')} FROM {name}"  # noqa: S608 -- from above
    with database.read() as connection:
        return sorted(tuple(map(str, row)) for row in connection.exec_driver_sql(query))


@pytest.mark.parametrize(
    ("before", "after", "statement"),
    [
        (
            COLUMNS_OF_HISTORY,
            ARRAYS,
            "INSERT INTO history (org, published, uuid, event_type) VALUES ('acme', '2026-11-02', 'late', 'x')",
        ),
        (ARRAYS, ONE_ROW, "INSERT INTO events (org, published, uuid) VALUES ('acme', '2026-11-02', 'late')"),
        (ARRAYS, ONE_ROW, "INSERT INTO signals VALUES ('acme', '2026-11-02', 'late', 'x')"),
    ],
)
def test_rows_written_during_a_migration_are_kept(
    tmp_path: Path, before: str, after: str, statement: str
) -> None:
    """On Postgres, the migration waits for a page transaction in progress."""
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database WHERE NOT granted AND datname = current_database()"
    with (
        old_database(Kind.POSTGRES, tmp_path) as (place, database),
        psycopg.connect(place.url.replace("+psycopg", "")) as daemon,
        ThreadPoolExecutor(1) as thread,
    ):
        upgrade(database, before)
        daemon.execute(statement)
        upgrading = thread.submit(upgrade, database, after)
        eventually(lambda: place.ask(waiting) != [(0,)])
        daemon.commit()
        upgrading.result()
        name = "history" if after == ARRAYS else "events"
        assert "late" in {row[2] for row in stored_rows(database, name)}
