"""Backups of an SQLite file, and the checks of `db check`."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from oktawatch.store.backup import backup
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.integrity import count_rows, inspect
from oktawatch.store.page_transaction import page_transaction
from tests.support.databases import NOW, ORG, open_database, outcome
from tests.support.places import Kind, Place, damage, place_of
from tests.support.streams import event


def write_events(database: Database, first: int, count: int) -> None:
    """Commit a page of events."""
    with page_transaction(database, ORG, now=NOW) as transaction:
        transaction.add_events([event(number) for number in range(first, first + count)])
        transaction.count(new_events=count, rejected=0, matches=0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """Yield an SQLite file of several hundred pages."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:
        write_events(database, 0, 8_000)
        yield database


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    """Yield a database of each kind."""
    with open_database(place) as opened:
        write_events(opened, 0, 3)
        yield opened


def opened_copy(path: Path) -> Database:
    """Open a backup."""
    return Database(f"sqlite:///{path}")


def test_a_backup_has_all_rows(file: Database, tmp_path: Path) -> None:
    """The copy has the same rows and is private, and no other file is left in the folder."""
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    size = backup(file, target)
    copy = opened_copy(target)
    assert outcome(copy) == outcome(file)
    copy.close()
    assert (target.stat().st_size, target.stat().st_mode & 0o777) == (size, 0o600)
    assert list(target.parent.iterdir()) == [target]


def test_a_backup_is_the_state_of_one_moment(
    file: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that another process commits during the copy are not in it, and neither delay nor restart it."""
    monkeypatch.setattr("oktawatch.store.backup._PAGES_AT_ONCE", 50)
    before = outcome(file)
    steps = []

    def commit_another(done: int, total: int) -> None:
        steps.append((done, total))
        other = Database(str(file.url))
        write_events(other, 8_000 + 10 * len(steps), 10)
        other.close()

    backup(file, tmp_path / "copy.db", progress=commit_another)
    copy = opened_copy(tmp_path / "copy.db")
    assert outcome(copy) == before
    copy.close()
    assert len(steps) == 5
    assert len({total for _, total in steps}) == 1
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


def test_an_interrupted_backup_leaves_nothing(file: Database, tmp_path: Path) -> None:
    """Ctrl-C during the copy removes the unfinished file."""

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(file, tmp_path / "copies.db", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir() if "copies" in path.name] == []


def test_an_existing_file_is_kept(file: Database, tmp_path: Path) -> None:
    """A backup never replaces a file."""
    target = tmp_path / "copy.db"
    target.write_text("the backup of yesterday")
    with pytest.raises(FileExistsError):
        backup(file, target)
    assert target.read_text() == "the backup of yesterday"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_during_the_copy_is_kept(
    file: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """A file that another program creates during the copy is not overwritten, on any file system."""
    folder = tmp_path / "copies"
    folder.mkdir()
    target = folder / "copy.db"
    if not links:
        _refuse_links(monkeypatch)

    def create(_done: int, _total: int) -> None:
        target.write_text("somebody else's", "utf-8")

    with pytest.raises(FileExistsError):
        backup(file, target, progress=create)
    assert target.read_text("utf-8") == "somebody else's"
    assert list(folder.iterdir()) == [target]


def test_a_file_system_without_links(file: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup also works on a file system without hard links, such as FAT."""
    _refuse_links(monkeypatch)
    backup(file, tmp_path / "copy.db")
    copy = opened_copy(tmp_path / "copy.db")
    assert outcome(copy) == outcome(file)
    copy.close()


def _refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_paths: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)


def test_a_link_to_nowhere_is_kept(file: Database, tmp_path: Path) -> None:
    """A symbolic link to a missing file counts as an existing file."""
    link = tmp_path / "copy.db"
    link.symlink_to(tmp_path / "missing.db")
    with pytest.raises(FileExistsError):
        backup(file, link)
    assert link.is_symlink()


def test_a_folder_that_does_not_exist(file: Database, tmp_path: Path) -> None:
    """The error names the file and the reason."""
    with pytest.raises(StoreError, match=r"can't write the backup \(.*/missing/copy.db\): No such file"):
        backup(file, tmp_path / "missing" / "copy.db")


def test_an_intact_database(database: Database) -> None:
    """Every check of an intact database passes, and every table is counted."""
    about: list[str] = []
    findings = inspect(database, about_to=about.append)
    assert [finding.about for finding in findings] == about == ["file", "schema", "references"]
    assert [finding for finding in findings if not finding.ok] == []
    counts = count_rows(database)
    assert (counts["events"], counts["orgs"], counts["alerts"]) == (3, 1, 0)


def test_a_changed_schema(database: Database) -> None:
    """A missing index and an additional column are named."""
    with database.write() as connection:
        (index,) = connection.execute(text(_FIRST_INDEX[database.shared])).first() or ("",)
        connection.execute(text(f"DROP INDEX {index}"))
        connection.execute(text("ALTER TABLE orgs ADD COLUMN mine INTEGER"))
    (finding,) = [finding for finding in inspect(database) if not finding.ok]
    assert finding.about == "schema"
    assert "remove column orgs.mine" in finding.message
    assert f"add index {index}" in finding.message


_FIRST_INDEX = {
    False: "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'alerts' AND name LIKE 'ix%'",
    True: "SELECT indexname FROM pg_indexes WHERE tablename = 'alerts' AND indexname LIKE 'ix%'",
}


def test_an_old_schema(database: Database) -> None:
    """A schema that must be upgraded fails, with the command to run."""
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    (finding,) = [finding for finding in inspect(database) if not finding.ok]
    assert finding.message.endswith("run 'oktawatch db upgrade'")


def test_a_damaged_file(file: Database) -> None:
    """A file with overwritten pages fails as damaged, whichever check reads them first."""
    path = Path(file.url.database or "")
    file.close()
    damage(path)
    with pytest.raises(StoreError, match="the database is damaged"):
        inspect(Database(str(file.url)))


def test_a_missing_row(file: Database) -> None:
    """A row that refers to a missing row is named with both tables."""
    with closing(sqlite3.connect(file.url.database or "")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(
            "INSERT INTO cursors (org, filter, cursor, began_at, updated_at) VALUES ('zed', '', '', '', '')"
        )
    (finding,) = [finding for finding in inspect(file) if not finding.ok]
    assert (finding.about, finding.message) == (
        "references",
        "a row of cursors refers to a missing row of orgs",
    )
