"""The migrations create the tables of `store.tables`, and drop them when downgrading."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.event import listen

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.rejected import RejectedEvent
from oktawatch.store import answer_deadline, tables
from oktawatch.store.database import Database
from oktawatch.store.errors import SchemaError, StoppedError, StoreError
from oktawatch.store.schema import commit_write, current, downgrade, migrations, require_current, upgrade
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Kind, Place, place_of
from tests.support.streams import event, page

_INSERT = "INSERT INTO events (org, published, uuid) SELECT 'acme', {}, 'e' || n FROM "
_MANY = "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 20000) "
INSERT_MANY_EVENTS = {
    Kind.SQLITE: _MANY + _INSERT.format("'2026-11-02T12:00:00.000Z'") + "many",
    Kind.POSTGRES: _INSERT.format("timestamptz '2026-11-02T12:00:00Z'") + "generate_series(1, 20000) AS n",
}
OLDEST = ("orgs", "events", "alerts", "matches", "notifications", "rejected_events")
"""Tables that exist since the first revision."""
LATER = (
    "proxied_actor",
    "fields",
    "history_version",
    "anonymizer",
    "operator",
    "change_id",
    "alert_change_id",
)
"""Later columns of these tables that have values in this test."""


@pytest.fixture
def empty(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Yield a database without a schema."""
    with place_of(kind, tmp_path, schema=False) as made:
        yield made


def test_the_migrations_create_the_schema_of_the_metadata(place: Place) -> None:
    """The migrated tables have the same columns, types and indexes as the metadata."""
    with open_database(place) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_newest_revision_is_the_one_the_program_works_with() -> None:
    """A new revision must also be set as REVISION in tables.py."""
    assert ScriptDirectory(str(migrations())).get_current_head() == tables.REVISION


def test_a_downgrade_leaves_nothing(place: Place) -> None:
    """Down to base, only Alembic's own table is left."""
    with open_database(place) as database:
        downgrade(database, "base")
        with database.read() as connection:
            found = inspect(connection)
            assert (found.get_table_names(), found.get_view_names()) == (["alembic_version"], [])
        upgrade(database)
        assert current(database) == tables.REVISION


def test_rows_survive_every_downgrade_and_upgrade(place: Place) -> None:
    """Every revision can be downgraded and upgraded again without changing the rows of other tables."""
    watch = Watch(org=ORG, rules=build_rules({}, read_file=str), routes=(Route(notifier="soc"),))
    sent = page([event(1), event(2)], rejected=[RejectedEvent("no usable uuid", b"\x00")])
    with open_database(place) as database:
        commit_page(database, watch, sent, notify=True, advance=lambda *_: None, now=NOW)
        before = {name: rows(database, name, without=LATER) for name in OLDEST}
        assert all(before.values())
        revisions = [one.revision for one in ScriptDirectory(str(migrations())).walk_revisions()]
        for revision in revisions[1:]:
            downgrade(database, revision)
            assert current(database) == revision
        for revision in reversed(revisions):
            upgrade(database, revision)
            assert current(database) == revision
        assert {name: rows(database, name, without=LATER) for name in OLDEST} == before


def test_concurrent_upgrades_are_safe(empty: Place) -> None:
    """Several processes or hosts may start with the same new database."""
    databases = [Database(empty.url, create=True) for _ in range(4)]
    with ThreadPoolExecutor(len(databases)) as threads:
        list(threads.map(upgrade, databases))
    assert {current(database) for database in databases} == {tables.REVISION}
    for database in databases:
        database.close()


def test_stopping_rolls_an_upgrade_back(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that rewrites a large table is interrupted; the next start begins again."""
    monkeypatch.setattr(answer_deadline, "STOP_WITHIN_S", 0.0)
    stopping = threading.Event()
    with closing(Database(empty.url, create=True, stopping=stopping)) as database:
        upgrade(database, "0008")
        empty.run(INSERT_MANY_EVENTS[empty.kind])

        def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "INSERT INTO events" in statement:
                stopping.set()

        listen(database._engine, "before_cursor_execute", stop)
        with pytest.raises(StoppedError):
            upgrade(database)
    with closing(Database(empty.url)) as database:
        assert current(database) == "0008"
        upgrade(database)
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM events")).scalar_one() == 20_000


def test_a_missing_schema_raises_an_error_with_the_command_to_run(empty: Place) -> None:
    """Commands that only read don't migrate, and the error names the command to run."""
    if empty.kind is Kind.SQLITE:
        (empty.folder / "oktawatch.db").touch()
    database = Database(empty.url)
    with pytest.raises(SchemaError, match="oktawatch db upgrade"):
        require_current(database)
    database.close()


@pytest.mark.parametrize("revision", ["0002", "0003", "0007"])
def test_an_older_schema_without_its_tables_is_refused(empty: Place, revision: str) -> None:
    """The one-line error names the version that can upgrade the schema, and nothing is changed."""
    with closing(Database(empty.url, create=True)) as database:
        upgrade(database, revision)
        empty.run("DROP TABLE matches", "DROP VIEW alert_events")
        for table in ("history", "leases", "signals", "notifiers"):
            if empty.has(table):
                empty.run(f"DROP TABLE {table}")
        with pytest.raises(SchemaError, match=f"of its schema {revision}: .* with the version that created"):
            upgrade(database)
        assert current(database) == revision


def test_a_newer_schema_is_refused(place: Place) -> None:
    """An older program does not change a newer schema."""
    with open_database(place) as database:
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for refuse in (upgrade, require_current):
            with pytest.raises(SchemaError, match="install a newer oktawatch"):
                refuse(database)


def test_reading_does_not_create_a_missing_file(tmp_path: Path) -> None:
    """Only commands that may create a database create one."""
    with pytest.raises(StoreError, match="there is no database at"):
        Database(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [("nonsense", "is not a database URL"), ("mysql://db.example.com/x", "mysql is not supported")],
)
def test_an_unusable_url_is_refused(url: str, problem: str) -> None:
    """The error names the expected value."""
    with pytest.raises(StoreError, match=problem):
        Database(url, create=True)


def test_a_read_only_database_is_refused(place: Place) -> None:
    """A read-only file or server refuses even a write that changes nothing."""
    with open_database(place) as database:
        commit_write(database)
        url = place.url
        if place.kind is Kind.SQLITE:
            url = f"sqlite:///file:{place.file}?mode=ro&uri=true"
        else:
            place.run(f"ALTER DATABASE {database.url.database} SET default_transaction_read_only = on")
        with (
            closing(Database(url, create=True)) as reading,
            pytest.raises(StoreError, match=r"read-?only (database|transaction)"),
        ):
            commit_write(reading)


def test_the_shown_location_has_no_password() -> None:
    """The shown location contains no password, neither of the user nor in an option."""
    url = "postgresql+psycopg://u:secret@127.0.0.1:1/x?password=secret&sslpassword=secret"
    with closing(Database(url)) as database:
        assert database.place == "postgresql+psycopg://u:***@127.0.0.1:1/x"


def test_connections_to_a_file_set_their_pragmas(tmp_path: Path) -> None:
    """WAL, foreign keys on, commits that need no fsync each."""
    with (
        place_of(Kind.SQLITE, tmp_path) as place,
        open_database(place) as database,
        database.read() as connection,
    ):
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
        assert pragmas == ["wal", 1, 1, 250]
