"""Each daemon has a row while it runs and can write."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from oktawatch.store.daemons import DaemonRow, Wait, WaitReason, delete_daemon, read_daemons, write_daemon
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.schema import downgrade, upgrade
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, Place


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Open a database."""
    with open_database(place) as made:
        yield made


def _row(name: str = "web-1", *, seen_s: float = 0, started_s: float = 0) -> DaemonRow:
    return DaemonRow(
        name=name,
        version="0.1.0",
        started_at=NOW + timedelta(seconds=started_s),
        seen_at=NOW + timedelta(seconds=seen_s),
        state="watching 1 org",
        waits={"acme \"\u00e9'": Wait(until=NOW + timedelta(minutes=1), reason=WaitReason.BACK_OFF)},
    )


def test_a_daemon_replaces_its_row(database: Database) -> None:
    """A daemon has one row, with its latest state."""
    write_daemon(database, _row())
    write_daemon(database, _row(seen_s=30))
    assert read_daemons(database) == [_row(seen_s=30)]


def test_rows_of_other_daemons_are_kept_for_a_day_on_postgres(database: Database) -> None:
    """On SQLite the row of another name is deleted at once, because only one daemon can run there."""
    write_daemon(database, _row("web-1"))
    write_daemon(database, _row("web-2", seen_s=60))
    names = [row.name for row in read_daemons(database)]
    assert names == (["web-2", "web-1"] if database.shared else ["web-2"])
    write_daemon(database, _row("web-2", seen_s=86_500))
    assert [row.name for row in read_daemons(database)] == ["web-2"]


def test_only_the_daemon_itself_deletes_its_row(database: Database) -> None:
    """A process that stops late does not delete the row of the process that took over its name."""
    write_daemon(database, _row(started_s=10))
    delete_daemon(database, "web-1", started_at=NOW)
    assert len(read_daemons(database)) == 1
    delete_daemon(database, "web-1", started_at=NOW + timedelta(seconds=10))
    assert read_daemons(database) == []


def test_a_row_can_t_be_written_to_a_read_only_database(place: Place, database: Database) -> None:
    """A daemon can't write its row to a read-only database, so a recent row proves that the database accepts writes."""
    url = place.url
    if place.kind is Kind.SQLITE:
        url = f"sqlite:///file:{place.file}?mode=ro&uri=true"
    else:
        place.run(f"ALTER DATABASE {database.url.database} SET default_transaction_read_only = on")
    with (
        closing(Database(url, create=True)) as reading,
        pytest.raises(StoreError, match=r"read-?only (database|transaction)"),
    ):
        write_daemon(reading, _row())


def test_a_row_of_an_older_version_has_no_waits(place: Place) -> None:
    """An upgrade that adds the column of waits keeps the row, and so does a downgrade."""
    row = "'web-1', '0.1.0', '2026-11-02T12:00:00.000Z', '2026-11-02T12:00:00.000Z', 'watching 1 org'"
    with closing(Database(place.url, create=True)) as database:
        upgrade(database)
        downgrade(database, "0024")
        place.run(f"INSERT INTO daemons VALUES ({row})")  # noqa: S608 -- a test's own values
        upgrade(database)
        assert [found.waits for found in read_daemons(database)] == [{}]
        downgrade(database, "0024")
        assert len(place.ask("SELECT name, version, started_at, seen_at, state FROM daemons")) == 1
