"""Copying an SQLite file to a server transfers every row once, in spite of interruptions."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.rejected import RejectedEvent
from oktawatch.store import copy as copying
from oktawatch.store.copy import copy
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.tables import metadata
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Kind, Place, place_of
from tests.support.streams import event, page

ODD = {
    "displayName": 'Ann "the\\" O\'Neil\t{1,2} NULL \u00e9\U0001f600\x01\x1f',
    "id": "00u,{}",
    "alternateId": "\\x41",
}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """Yield an SQLite file with rows in every table that a page fills."""
    rules = build_rules({}, enable=["*"], read_file=str)
    events = [
        event(
            number, at=timedelta(seconds=number), outcome={"result": "SUCCESS" if number % 2 else "FAILURE"}
        )
        for number in range(300)
    ]
    events += [
        event(1_000 + number, actor=ODD, client={"ipAddress": f"2001:db8::{number}"}) for number in range(9)
    ]
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place, "Zed", "alpha") as made:
        for org in (ORG, "Zed", "alpha"):
            commit_page(
                made,
                Watch(org=org, rules=rules, routes=(Route(notifier="soc"),)),
                page(events, rejected=[RejectedEvent("no usable uuid", bytes(range(256)))]),
                notify=True,
                advance=lambda *_: None,
                now=NOW,
            )
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Yield an empty Postgres database."""
    with place_of(Kind.POSTGRES, tmp_path, schema=False) as made:
        yield made


@pytest.fixture
def server(place: Place) -> Iterator[Database]:
    """Open the empty database."""
    database = Database(place.url)
    yield database
    database.close()


def no_progress(_table: str, _rows: int) -> None:
    """Ignore the progress."""


def test_every_row_arrives_as_it_was(file: Database, server: Database) -> None:
    """Times, JSON, bytes and texts with special characters are copied unchanged."""
    counts = copy(file, server, progress=no_progress)
    assert counts["events"] == 3 * 309
    assert min(counts[name] for name in ("alerts", "matches", "notifications", "rejected_events")) > 0
    assert len(rows(file, "history")) > 0
    assert len(rows(file, "signals")) > 0
    for table in metadata.tables:
        if table not in {"replicas", "leases"}:

            def order(row: dict[str, object]) -> str:
                return repr(row)

            assert sorted(rows(server, table), key=order) == sorted(rows(file, table), key=order), table


def test_an_interrupted_copy_continues(
    file: Database, server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted copy continues after the last row, and copies the orgs last."""
    monkeypatch.setattr(copying, "_BATCH_ROWS", 100)
    sent: list[tuple[str, int]] = []

    def die(table: str, arrived: int) -> None:
        sent.append((table, arrived))
        if len(sent) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(file, server, progress=die)
    assert rows(server, "orgs") == []
    copy(file, server, progress=lambda table, arrived: sent.append((table, arrived)))
    assert [arrived for table, arrived in sent if table == "events"] == [
        100, 200, 300, 400, 500, 600, 700, 800, 900, 927,
    ]  # fmt: skip
    assert sorted(rows(server, "events"), key=repr) == sorted(rows(file, "events"), key=repr)


def test_a_complete_copy_is_not_repeated(file: Database, server: Database) -> None:
    """Copying again does nothing if the numbers of rows agree."""
    copy(file, server, progress=no_progress)
    assert copy(file, server, progress=lambda *_: pytest.fail("something was copied"))["orgs"] == 3


def test_a_database_in_use_is_not_touched(file: Database, place: Place) -> None:
    """Copying to a database with other orgs raises an error and writes nothing."""
    with open_database(place) as server:
        with pytest.raises(StoreError, match=r"events has 0 rows of 927.*copy to an empty database"):
            copy(file, server, progress=no_progress)
        assert rows(server, "events") == []


def test_later_alerts_get_new_ids(file: Database, server: Database) -> None:
    """A later alert gets an id that no copied alert has."""
    copy(file, server, progress=no_progress)
    before = max(row["id"] for row in rows(file, "alerts"))
    late = event(5_000, at=timedelta(days=3))
    watch = Watch(org=ORG, rules=build_rules({}, read_file=str))
    commit_page(server, watch, page([late]), notify=False, advance=lambda *_: None, now=NOW)
    assert max(row["id"] for row in rows(server, "alerts")) == before + 1
