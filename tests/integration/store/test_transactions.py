"""A write is one transaction: it is committed as a whole or not at all, and never begun twice."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from oktawatch.model.cursor import Cursor
from oktawatch.store.cursors import move_cursor, read_cursor
from oktawatch.store.database import Database
from oktawatch.store.errors import CursorMovedError, StoppedError, StoreError
from oktawatch.store.org_liveness import read_liveness
from oktawatch.store.orgs import record_failure
from oktawatch.store.page_transaction import page_transaction
from tests.support.databases import NOW, ORG, open_database, rows
from tests.support.places import Kind, Place
from tests.support.streams import event

START = Cursor(filter="f", began_at=NOW, query="/api/v1/logs?after=1")
NEXT = Cursor(
    filter="f", began_at=NOW, query="/api/v1/logs?after=2", last_published=NOW, last_caught_up_at=NOW
)


def move(database: Database, read: Cursor | None, to: Cursor) -> None:
    """Move the cursor in a page's transaction."""
    with page_transaction(database, ORG, now=NOW) as transaction:
        transaction.add_events([event(1)])
        move_cursor(transaction, read, to)


def test_a_moved_cursor_is_read_back(place: Place) -> None:
    """The stored cursor equals the one that it was moved to."""
    with open_database(place) as database:
        assert read_cursor(database, ORG) is None
        move(database, None, START)
        move(database, START, NEXT)
        assert read_cursor(database, ORG) == NEXT


def test_only_the_first_page_succeeds_without_progress(place: Place) -> None:
    """A first page without new events is a successful poll, and ends the org's error. A later page without new events is not."""
    later = NOW + timedelta(minutes=1)
    with open_database(place) as database:
        for read, to, now in ((None, START, NOW), (START, NEXT, later)):
            record_failure(database, ORG, "no answer", now=now)
            with page_transaction(database, ORG, now=now) as transaction:
                move_cursor(transaction, read, to, progress=False)
            liveness = read_liveness(database)[ORG]
            assert liveness.success_at == NOW
            assert liveness.error == (None if read is None else "no answer")


@pytest.mark.parametrize("read", [None, START])
def test_a_page_is_rolled_back_if_another_writer_moved_the_cursor(place: Place, read: Cursor | None) -> None:
    """If two writers move a cursor from the same value, the later page is rolled back."""
    with open_database(place) as database:
        with page_transaction(database, ORG, now=NOW) as transaction:
            move_cursor(transaction, None, NEXT)
        with pytest.raises(CursorMovedError, match="acme"):
            move(database, read, START)
        assert read_cursor(database, ORG) == NEXT
        assert rows(database, "events") == []


def test_a_page_of_an_unknown_org_is_refused(place: Place) -> None:
    """An org without a row can't be locked, so its page is refused."""
    with open_database(place) as database:  # noqa: SIM117 -- only the statement that must raise is inside
        with (
            pytest.raises(StoreError, match="never registered"),
            page_transaction(database, "other", now=NOW),
        ):
            pass


def test_a_page_that_waits_for_its_org_is_abandoned_at_a_stop(place: Place) -> None:
    """A page that waits for its org is abandoned when the program stops."""
    stopping = threading.Event()
    with open_database(place) as database, page_transaction(database, ORG, now=NOW):
        waiting = Database(place.url, stopping=stopping)
        timer = threading.Timer(0.05, stopping.set)
        timer.start()
        with pytest.raises(StoppedError), page_transaction(waiting, ORG, now=NOW):
            pytest.fail("two writers at once")
        timer.join()
        waiting.close()


@pytest.mark.parametrize("held", [0.05, 1.0])
def test_a_page_waits_until_its_org_is_free(place: Place, held: float) -> None:
    """A writer waits for a lock, however long another writer has it."""
    with open_database(place) as database:
        other = Database(place.url)
        begun, done = threading.Event(), threading.Event()

        def count(writer: Database) -> None:
            begun.set()
            with page_transaction(writer, ORG, now=NOW) as transaction:
                transaction.count(new_events=1, rejected=0, matches=0)
            done.set()

        with page_transaction(database, ORG, now=NOW) as transaction:
            thread = threading.Thread(target=count, args=(other,))
            thread.start()
            begun.wait()
            transaction.count(new_events=1, rejected=0, matches=0)
            assert not done.wait(held)
        thread.join()
        other.close()
        assert [row["events_seen"] for row in rows(database, "orgs")] == [2]


def test_orgs_do_not_wait_for_each_other_on_a_server(place: Place) -> None:
    """On Postgres, a page locks only its org's row."""
    if place.kind is Kind.SQLITE:
        return
    with (
        open_database(place, "other") as database,
        page_transaction(database, ORG, now=NOW) as one,
        page_transaction(database, "other", now=NOW) as two,
    ):
        assert [one.add_events([event(1)]).events, two.add_events([event(1)]).events] == [1, 1]


def test_events_are_stored_once(place: Place) -> None:
    """Adding the same events again adds nothing and returns zero."""
    with open_database(place) as database:
        for expected in (1200, 0):
            with page_transaction(database, ORG, now=NOW) as transaction:
                events = [event(number, at=timedelta(seconds=number)) for number in range(1200)]
                assert transaction.add_events(events).events == expected
        assert len(rows(database, "events")) == 1200


def test_a_driver_error_becomes_one_line(place: Place) -> None:
    """A driver's error becomes a StoreError with one line, which names the database."""
    with open_database(place) as database:
        with pytest.raises(StoreError) as raised, database.write() as connection:
            connection.execute(text("SELECT * FROM nowhere"))
        assert str(raised.value).startswith(f"the database refused ({database.place}): ")
