"""When a database fails, the page is rolled back, the error is one line, and the next page works."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from oktawatch.store import postgres as backend
from oktawatch.store.database import Database
from oktawatch.store.errors import DamagedDatabaseError, DatabaseReplacedError, StoreError, WriteFailedError
from oktawatch.store.page_transaction import page_transaction
from tests.support import postgres
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Kind, Place, damage, place_of
from tests.support.postgres import OwnServer
from tests.support.streams import event


def do_nothing() -> None:
    """Do nothing."""


def write_page(database: Database, number: int, meanwhile: Callable[[], None] = do_nothing) -> None:
    """Commit a page of one event, and call ``meanwhile`` within the transaction."""
    with page_transaction(database, ORG, now=NOW) as transaction:
        transaction.add_events([event(number)])
        meanwhile()
        transaction.count(new_events=1, rejected=0, matches=0)


def uuids(database: Database) -> list[str]:
    """Return the uuids of the stored events."""
    return [row["uuid"] for row in rows(database, "events")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[OwnServer, Database]]:
    """Yield a server that the test can stop, and a database on it that is in use."""
    own = OwnServer()
    name = own.create()
    with open_database(Place(Kind.POSTGRES, tmp_path, own.url_of(name))) as database:
        write_page(database, 1)
        yield own, database
    own.close()


def test_a_restarted_server_causes_no_error(server: tuple[OwnServer, Database]) -> None:
    """Pooled connections that the restart closed are replaced before the transaction begins."""
    own, database = server
    for mode in ("fast", "immediate"):
        own.control("restart", "-m", mode)
        write_page(database, 2)
    assert uuids(database) == [event(1).uuid, event(2).uuid]


def test_a_server_that_is_down_causes_a_one_line_error(server: tuple[OwnServer, Database]) -> None:
    """A server that is down causes a one-line error, and works again when it is up."""
    own, database = server
    own.control("stop", "-m", "immediate")
    with pytest.raises(StoreError) as raised:
        write_page(database, 2)
    assert str(raised.value).startswith(f"the database refused ({database.place}): connection ")
    assert "\n" not in str(raised.value)
    own.control("start", "-o", f'-h "" -k {own.folder}')
    write_page(database, 2)
    assert len(uuids(database)) == 2


def test_a_restart_within_a_page_rolls_the_page_back(server: tuple[OwnServer, Database]) -> None:
    """No part of the page is stored, and the same page can be committed afterwards."""
    own, database = server
    with pytest.raises(StoreError):
        write_page(database, 2, lambda: own.control("restart", "-m", "immediate"))
    assert uuids(database) == [event(1).uuid]
    write_page(database, 2)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Yield a Postgres database in use."""
    with place_of(Kind.POSTGRES, tmp_path) as place, open_database(place) as made:
        write_page(made, 1)
        yield made


def end_connections(database: Database) -> None:
    """Make the server close every connection to the database."""
    postgres.server().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 -- a test's own name
        f"WHERE datname = '{database.url.database}' AND pid <> pg_backend_pid()"
    )


def test_a_connection_lost_within_a_page_rolls_the_page_back(database: Database) -> None:
    """The page is rolled back, and the next page gets a new connection."""
    with pytest.raises(StoreError):
        write_page(database, 2, lambda: end_connections(database))
    write_page(database, 3)
    assert uuids(database) == [event(1).uuid, event(3).uuid]


def test_connections_lost_between_pages_are_replaced(database: Database) -> None:
    """Lost connections in the pool are replaced without an error."""
    end_connections(database)
    write_page(database, 2)
    assert len(uuids(database)) == 2


def test_connections_to_a_read_only_server_are_closed(database: Database) -> None:
    """After a failover, connections to the read-only server are closed, and the next page connects again."""
    change = f"ALTER DATABASE {database.url.database} SET default_transaction_read_only"
    postgres.server().execute(f"{change} = on")
    end_connections(database)
    with pytest.raises(
        StoreError, match=r"the database refused \(.*\): cannot execute .* in a read-only transaction$"
    ):
        write_page(database, 2)
    postgres.server().execute(f"{change} = off")
    write_page(database, 3)
    assert uuids(database) == [event(1).uuid, event(3).uuid]


def test_the_server_ends_an_idle_page_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends a transaction whose process was stopped or whose host is unreachable."""
    monkeypatch.setattr(backend, "_WRITE", backend._WRITE.replace(f"'{backend._IDLE_TIMEOUT_S}s'", "'1s'"))
    with place_of(Kind.POSTGRES, tmp_path) as place, open_database(place) as database:
        other = Database(place.url)
        with pytest.raises(StoreError):
            write_page(database, 1, lambda: write_page(other, 2))
        other.close()
        assert uuids(database) == [event(2).uuid]


def test_errors_contain_no_values_of_rows(database: Database) -> None:
    """The text of an event reaches no log through a database error."""
    with pytest.raises(StoreError) as raised, database.write() as connection:
        connection.execute(text("INSERT INTO orgs (name) VALUES ('typed by somebody')"))
    assert "typed by somebody" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """Yield an SQLite database in use."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as made:
        write_page(made, 1)
        yield made


@pytest.mark.parametrize(
    ("trouble", "mended", "message"),
    [
        ("max_page_count = 1", "max_page_count = 1000000", "database or disk is full"),
        ("query_only = ON", "query_only = OFF", "attempt to write a readonly database"),
    ],
    ids=["a full disk", "a read-only file"],
)
def test_an_unwritable_file_rolls_the_page_back(
    file: Database, trouble: str, mended: str, message: str
) -> None:
    """The page is rolled back, and the next page is committed after the fault was fixed."""
    pragma = [trouble]

    def set_pragma(connection: sqlite3.Connection, *_: Any) -> None:
        connection.execute(f"PRAGMA {pragma[0]}")

    sqlalchemy_event.listen(file._engine, "checkout", set_pragma)
    with pytest.raises(StoreError, match=message), page_transaction(file, ORG, now=NOW) as transaction:
        transaction.add_events([event(number) for number in range(2, 2_000)])
    pragma[0] = mended
    assert uuids(file) == [event(1).uuid]
    write_page(file, 2)
    assert len(uuids(file)) == 2


def test_two_processes_create_a_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that create a file at once both succeed, because the second one retries."""
    with closing(sqlite3.connect(tmp_path / "oktawatch.db")) as first:
        first.execute("BEGIN EXCLUSIVE")
        first.execute("CREATE TABLE made (by)")
        monkeypatch.setattr("oktawatch.store.sqlite.time.sleep", lambda _seconds: first.commit())
        database = Database(f"sqlite:///{tmp_path / 'oktawatch.db'}")
        with closing(database), database.write() as connection:
            assert connection.execute(text("SELECT count(*) FROM made")).scalar_one() == 0
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_a_file_that_was_replaced_is_not_written(file: Database) -> None:
    """Nothing is written to a file that was replaced, because it would be lost."""
    path = Path(file.url.database or "")
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    for _ in range(2):
        with pytest.raises(DatabaseReplacedError, match="was deleted or replaced while it was open"):
            write_page(file, 2)


def test_a_file_that_was_deleted_is_not_written(file: Database) -> None:
    """A deleted file is neither written nor created again."""
    path = Path(file.url.database or "")
    path.unlink()
    with pytest.raises(DatabaseReplacedError):
        write_page(file, 2)
    assert not path.exists()


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Database]:
    """Yield a file with many pages, of which all but the first are overwritten."""
    with place_of(Kind.SQLITE, tmp_path) as place:
        with open_database(place) as made, page_transaction(made, ORG, now=NOW) as transaction:
            transaction.add_events([event(number) for number in range(2_000)])
        damage(place.file)
        with closing(Database(place.url)) as opened:
            yield opened


def test_a_damaged_file_is_found_at_the_start(damaged: Database) -> None:
    """The one-line error says what to do."""
    with pytest.raises(
        DamagedDatabaseError, match=r"damaged \(.*oktawatch.db\): .*; restore a backup"
    ) as raised:
        damaged.require_undamaged(within_s=30)
    assert "\n" not in str(raised.value)


def test_minor_damage_is_found_at_the_start(file: Database) -> None:
    """A NULL in a NOT NULL column is found, although no statement fails because of it."""
    with closing(sqlite3.connect(file.url.database or "")) as connection, connection:
        connection.execute("CREATE TABLE other (name TEXT)")
        connection.execute("INSERT INTO other VALUES ('one')")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE other (name TEXT NOT NULL)' WHERE name = 'other'"
        )
        connection.execute("UPDATE other SET name = NULL")
    with pytest.raises(DamagedDatabaseError, match=r"NULL value in other.name; restore a backup"):
        file.require_undamaged(within_s=30)


def test_a_damaged_file_is_found_by_a_statement(damaged: Database) -> None:
    """Any statement detects a damaged file."""
    with pytest.raises(DamagedDatabaseError, match="malformed"):
        write_page(damaged, 1)


def test_the_check_for_damage_is_limited_in_time(file: Database) -> None:
    """The check reads only a part of a large file, and later statements have no time limit."""
    with page_transaction(file, ORG, now=NOW) as transaction:
        transaction.add_events([event(number) for number in range(2, 5_000)])
    file.require_undamaged(within_s=-1)
    with file.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM events a, events b")).scalar_one() > 20_000_000


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    """A text file under the database's name is reported."""
    file = tmp_path / "oktawatch.db"
    file.write_text("not a database, but long enough to be taken for one\n" * 100)
    with (
        closing(Database(f"sqlite:///{file}")) as database,
        pytest.raises(DamagedDatabaseError, match="file is not a database"),
    ):
        database.require_undamaged(within_s=30)


@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"])
def test_a_refused_write_raises_its_own_error(file: Database, pragma: str) -> None:
    """A full disk and a read-only file raise WriteFailedError. Other errors raise StoreError."""
    sqlalchemy_event.listen(
        file._engine, "checkout", lambda connection, *_: connection.execute(f"PRAGMA {pragma}")
    )
    with pytest.raises(WriteFailedError), page_transaction(file, ORG, now=NOW) as transaction:
        transaction.add_events([event(number) for number in range(2, 2_000)])
    with pytest.raises(StoreError) as raised, file.read() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert type(raised.value) is StoreError


def test_a_connection_from_a_read_only_period_is_not_reused(tmp_path: Path) -> None:
    """A connection that was opened while the server was read-only is not used for the next write."""
    with place_of(Kind.POSTGRES, tmp_path) as place, open_database(place) as database:
        name = database.url.database
        place.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        database.close()
        assert uuids(database) == []
        place.run(
            f"ALTER DATABASE {name} SET default_transaction_read_only = off",
            "SET default_transaction_read_only = off",
        )
        write_page(database, 1)
        assert len(uuids(database)) == 1
