"""A page is processed in one transaction: nothing is lost or duplicated."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.cursor import Cursor
from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.severity import Severity
from oktawatch.store.cursors import move_cursor, read_cursor
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, Place, place_of
from tests.support.properties import examples
from tests.support.streams import cut, cut_streams, event, page, streams

WATCH = Watch(
    org=ORG,
    rules=build_rules({}, read_file=lambda path: pytest.fail(f"nothing names {path}")),
    routes=(Route(notifier="soc"), Route(notifier="all", min_severity=Severity.INFO)),
)


class DiedError(Exception):
    """The process died: nothing after this line ran."""


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all examples of a property; each example empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("pipeline")) as place, open_database(place) as made:
        yield made


def commit(database: Database, page_: Page, *, notify: bool = True) -> PageResult:
    """Commit a page that moves no cursor."""
    return commit_page(
        database, WATCH, page_, notify=notify, advance=lambda _transaction, _result: None, now=NOW
    )


def poll(database: Database, page_: Page) -> PageResult:
    """Commit a page as a poll does, which moves the cursor from the value it was read at."""
    advance = partial(
        _advance, read_cursor(database, ORG), Cursor(filter="f", began_at=NOW, query=page_.resume)
    )
    return commit_page(database, WATCH, page_, notify=True, advance=advance, now=NOW)


def _advance(read: Cursor | None, to: Cursor, transaction: Any, _result: PageResult) -> None:
    move_cursor(transaction, read, to)


def read_on(database: Database, pages: list[Page]) -> None:
    """Read the stream from the cursor to its end."""
    by_query = {page_.query: number for number, page_ in enumerate(pages)}
    cursor = read_cursor(database, ORG)
    start = by_query.get(cursor.query, len(pages)) if cursor else 0
    for page_ in pages[start:]:
        poll(database, page_)


properties = settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@properties
@given(pages=cut_streams())
def test_page_boundaries_change_no_rows(database: Database, pages: list[Page]) -> None:
    """The page boundaries don't change the rows."""
    empty(database)
    commit(database, page([event for part in pages for event in part.events]))
    whole = outcome(database)
    empty(database)
    for part in pages:
        commit(database, part)
    assert outcome(database) == whole


@properties
@given(pages=cut_streams(), data=st.data())
def test_reading_any_page_again_changes_nothing(
    database: Database, pages: list[Page], data: st.DataObject
) -> None:
    """Reading pages again changes nothing, in any order, with and without notifications."""
    empty(database)
    for part in pages:
        commit(database, part)
    once = outcome(database)
    for part in data.draw(st.lists(st.sampled_from(pages), max_size=4)):
        result = commit(database, part, notify=data.draw(st.booleans()))
        assert (result.new_events, result.matches, result.alert_count, result.notifications) == (0, 0, 0, 0)
    assert outcome(database) == once


@properties
@given(pages=cut_streams(), deaths=st.lists(st.integers(1, 12), max_size=4))
def test_a_crash_at_any_step_loses_and_duplicates_nothing(
    database: Database, pages: list[Page], deaths: list[int]
) -> None:
    """After a crash at any step, reading from the committed cursor loses and duplicates nothing."""
    empty(database)
    for part in pages:
        poll(database, part)
    unharmed = outcome(database)
    empty(database)
    for steps in deaths:
        with dying_after(database, steps):
            read_on(database, pages)
    read_on(database, pages)
    assert outcome(database) == unharmed


class dying_after:  # noqa: N801 -- reads as the sentence it is used in
    """Make the n-th statement or commit from now on fail, as if the process had died before it."""

    def __init__(self, database: Database, steps: int) -> None:
        """Count down ``steps``."""
        self._engine = database._engine
        self._left = steps

    def _step(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise DiedError

    def __enter__(self) -> None:
        """Start counting."""
        sqlalchemy_event.listen(self._engine, "before_cursor_execute", self._step)
        sqlalchemy_event.listen(self._engine, "commit", self._step)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Stop counting, and suppress the simulated death."""
        sqlalchemy_event.remove(self._engine, "before_cursor_execute", self._step)
        sqlalchemy_event.remove(self._engine, "commit", self._step)
        return kind is DiedError


@properties
@given(stream=streams(), quiet=st.integers(0, 20))
def test_a_poll_notifies_once_of_alerts_of_a_silent_backfill(
    database: Database, stream: list[Event], quiet: int
) -> None:
    """A poll notifies once of alerts that a backfill without notifications recorded."""
    empty(database)
    commit(database, page(stream))
    notifications = outcome(database)["notifications"]
    empty(database)
    commit(database, page(stream[:quiet]), notify=False)
    assert rows(database, "notifications") == []
    commit(database, page(stream))
    after = outcome(database)
    assert {notification["alert"] for notification in after["notifications"]} == {
        notification["alert"] for notification in notifications
    }
    assert all(alert["told"] == alert["severity"] for alert in after["alerts"])


def test_a_failure_of_the_outbox_rolls_back_the_page(place: Place) -> None:
    """If the outbox can't be written, events, matches, alerts and cursor are rolled back."""
    with open_database(place) as database:
        first, second = cut([event(1), event(2, client={"ipAddress": "198.51.100.9"})], [1])
        poll(database, first)
        before, cursor = outcome(database), read_cursor(database, ORG)
        with database.write() as connection:
            connection.execute(text("ALTER TABLE notifications RENAME TO elsewhere"))
        with pytest.raises(StoreError, match="notifications"):
            poll(database, second)
        with database.write() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO notifications"))
        assert outcome(database) == before
        assert read_cursor(database, ORG) == cursor
        assert [row["events_seen"] for row in rows(database, "orgs")] == [1]
        poll(database, second)
        assert len(outcome(database)["notifications"]) == 4


def test_a_joining_match_keeps_the_alerts_title_and_columns(place: Place) -> None:
    """A joining match updates the alert's count, times and severity, and keeps its title and columns."""
    with open_database(place) as database:
        commit(
            database,
            page([event(1), event(2, at=timedelta(hours=1), actor={"id": "00u1", "displayName": "Renamed"})]),
        )
        (alert,) = rows(database, "alerts")
        assert alert["title"] == (
            "Nora Vale <nora@example.com> tried to sign in from an anonymizing proxy - IP=203.0.113.7"
        )
        assert (alert["event_count"], alert["status"], alert["severity"]) == (2, "open", Severity.MEDIUM)
        assert (alert["first_event_at"], alert["last_event_at"]) == (NOW, NOW + timedelta(hours=1))
        assert (alert["actor_id"], alert["client_ip"]) == ("00u1", "203.0.113.7")
        assert alert["context"]["ips"] == ["203.0.113.7"]
        with database.read() as connection:
            view = connection.execute(text("SELECT alert_id, event_uuid FROM alert_events")).all()
        assert [row[0] for row in view] == [alert["id"], alert["id"]]


def test_a_notification_goes_to_each_route_that_wants_it(place: Place) -> None:
    """A relay sign-in is sent to the notifier that wants INFO, and after a rise to both."""
    relay = {
        "isProxy": True,
        "ipDetails": {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}]},
    }
    with open_database(place) as database:
        result = commit(database, page([event(1, securityContext=relay)]))
        assert result.severities == {Severity.INFO: 1}
        assert [row["notifier"] for row in rows(database, "notifications")] == ["all"]
        commit(database, page([event(2)]))
        sent_to = sorted((row["notifier"], row["kind"]) for row in rows(database, "notifications"))
        assert sent_to == [("all", "opened"), ("all", "raised"), ("soc", "raised")]


def test_a_notification_has_the_same_id_after_the_database_was_lost(place: Place) -> None:
    """After the database was lost, a repeated notification has the same id."""
    ids = []
    with open_database(place) as database:
        for _ in range(2):
            empty(database)
            commit(database, page([event(1)]))
            ids.append([row["id"] for row in rows(database, "notifications")])
    assert ids[0] == ids[1]


def test_a_rejected_element_is_stored_once(place: Place) -> None:
    """A rejected element is stored once by its fingerprint, with its bytes, and counted."""
    broken = [RejectedEvent("no usable uuid", b'{"uuid": null}')]
    with open_database(place) as database:
        assert [commit(database, page([], rejected=broken)).rejected for _ in range(2)] == [1, 0]
        (row,) = rows(database, "rejected_events")
        assert (row["raw"], row["reason"]) == (b'{"uuid": null}', "no usable uuid")
        assert [org["events_rejected"] for org in rows(database, "orgs")] == [1]
