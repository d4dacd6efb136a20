"""The migrations make the tables that the program works with, and take them back."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import SchemaError, StoreError
from oktawatch.store.schema import current, downgrade, migrations, require_current, upgrade
from tests.support.databases import open_database


def test_the_migrations_make_what_the_metadata_says(tmp_path: Path) -> None:
    """No column, type or index differs between the two."""
    with open_database(tmp_path) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_revision_is_the_one_the_program_works_with() -> None:
    """A new revision must be named in tables.py too."""
    assert ScriptDirectory(str(migrations())).get_current_head() == tables.REVISION


def test_a_downgrade_leaves_nothing(tmp_path: Path) -> None:
    """Down to base, only Alembic's own table is left."""
    with open_database(tmp_path) as database:
        downgrade(database, "base")
        with database.read() as connection:
            assert inspect(connection).get_table_names() == ["alembic_version"]
        upgrade(database)
        assert current(database) == tables.REVISION


def test_upgrading_twice_at_once_is_safe(tmp_path: Path) -> None:
    """Several processes may start on one new file."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    databases = [Database(url, create=True) for _ in range(4)]
    threads = [threading.Thread(target=upgrade, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {current(database) for database in databases} == {tables.REVISION}
    for database in databases:
        database.close()


def test_a_database_without_a_schema_says_what_to_run(tmp_path: Path) -> None:
    """Commands that only read never migrate."""
    (tmp_path / "empty.db").touch()
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(SchemaError, match="oktawatch db upgrade"):
        require_current(database)
    database.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An old program does not touch what a newer one made."""
    with open_database(tmp_path) as database:
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for refuse in (upgrade, require_current):
            with pytest.raises(SchemaError, match="install a newer oktawatch"):
                refuse(database)


def test_a_missing_file_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    """Only commands that may create a database create one."""
    with pytest.raises(StoreError, match="there is no database at"):
        Database(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [("nonsense", "no database URL"), ("mysql://db.example.com/x", "mysql is not supported")],
)
def test_an_unusable_url_is_refused(url: str, problem: str) -> None:
    """The message says what is expected."""
    with pytest.raises(StoreError, match=problem):
        Database(url, create=True)


def test_connections_are_prepared(tmp_path: Path) -> None:
    """WAL, foreign keys on, commits that need no fsync each."""
    with open_database(tmp_path) as database, database.read() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
        assert pragmas == ["wal", 1, 1, 250]
