"""Each event has one row. Missing parts are added when it is read again; stored parts don't change."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.model.history import HistoryRow
from oktawatch.model.match import EventKey, SignalIds
from oktawatch.model.timestamps import to_text
from oktawatch.store.database import Database
from oktawatch.store.events import Added, add_events
from oktawatch.store.orgs import lock_org
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.places import Kind, place_of

OTHER = "other"
KEYS = [(to_text(NOW + minute * timedelta(minutes=1)), uuid) for minute in range(3) for uuid in "ab"]


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each test empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("events")) as place, open_database(place, OTHER) as made:
        yield made


def history_row(key: EventKey, actor: str = "00u1") -> HistoryRow:
    """Return the history row of an event through a proxy."""
    return HistoryRow(*key, "user.session.start", actor_id=actor, is_proxy=True)


def counts(added: Added) -> tuple[int, int]:
    """Return the number of new events and signals."""
    return (added.events, added.signals)


def test_missing_history_and_signals_are_filled_in(database: Database) -> None:
    """An event that was read with fewer rules gets its history when it is read again."""
    empty(database)
    events = [history_row(key) for key in KEYS]
    with database.write() as connection:
        assert add_events(connection, ORG, events) == Added(6, 0, None)
        signals = dict.fromkeys(KEYS[:3], ("A",))
        added = add_events(connection, ORG, events[:3], events[:3], signals)
        assert counts(added) == (0, 3)
        assert added.version is not None
        assert add_events(connection, ORG, events[:3], events[:3], signals) == Added(0, 0, None)
        assert lock_org(database, connection, ORG) == added.version
    assert len(rows(database, "events")) == 6
    assert [row["actor_id"] for row in rows(database, "history")] == ["00u1"] * 3
    assert [row["rule_id"] for row in rows(database, "signals")] == ["A"] * 3
    assert [row["proxied_actor"] for row in rows(database, "events")] == ["00u1"] * 3 + [None] * 3


def test_events_of_every_signal_are_in_the_index(database: Database) -> None:
    """A first occurrence through a tunnel is looked up like one through a proxy."""
    empty(database)
    signals = ("is_proxy", "anonymous_tunnel", "anonymous_service", "associated_proxy")
    page = [HistoryRow(KEYS[0][0], name, "x", actor_id="00u1", is_proxy=False) for name in (*signals, "none")]
    for row in page[:-1]:
        setattr(row, row.uuid, True)
    with database.write() as connection:
        add_events(connection, ORG, page, page)
    indexed = {row["uuid"] for row in rows(database, "events") if row["proxied_actor"] == "00u1"}
    assert indexed == set(signals)


def test_stored_history_does_not_change(database: Database) -> None:
    """A repeated event with another content, or a new signal, does not change the stored history."""
    empty(database)
    first, second = history_row(KEYS[0]), history_row(KEYS[0], "00u2")
    with database.write() as connection:
        add_events(connection, ORG, [first], [first])
        assert add_events(connection, ORG, [second], [second], {KEYS[0]: ("A",)}) == Added(0, 1)
    (row,) = rows(database, "events")
    assert (row["proxied_actor"], row["signals"]) == ("00u1", ["A"])
    assert [row["actor_id"] for row in rows(database, "history")] == ["00u1"]


def test_the_first_of_several_events_with_the_same_key_is_stored(database: Database) -> None:
    """Of several events with the same key on a page, the first is stored."""
    first, second, other = history_row(KEYS[0]), history_row(KEYS[0], "00u2"), history_row(KEYS[1])
    for further in ([], [other]):
        empty(database)
        with database.write() as connection:
            added = add_events(connection, ORG, [first, second, *further], [first, second])
        assert counts(added) == (1 + len(further), 0)
        assert [row["actor_id"] for row in rows(database, "history")] == ["00u1"]


def test_a_signal_of_an_earlier_event_is_stored_with_that_event(database: Database) -> None:
    """A signal of an earlier event is recorded with that event, unless it was pruned."""
    empty(database)
    first, second = history_row(KEYS[0]), history_row(KEYS[2])
    with database.write() as connection:
        add_events(connection, ORG, [first], [first])
        signals = {KEYS[0]: ("W",), KEYS[2]: ("A", "W"), ("2020-01-01T00:00:00.000Z", "x"): ("W",)}
        assert counts(add_events(connection, ORG, [second], [second], signals)) == (1, 3)
    assert [row["signals"] for row in rows(database, "events")] == [["W"], ["A", "W"]]


def test_each_org_has_its_own_rows(database: Database) -> None:
    """The same event in two orgs has two rows."""
    empty(database)
    event = history_row(KEYS[0])
    with database.write() as connection:
        assert counts(add_events(connection, ORG, [event], [event])) == (1, 0)
        assert counts(add_events(connection, OTHER, [event], [event], {KEYS[0]: ("A",)})) == (1, 1)
    assert [row["signals"] for row in rows(database, "events")] == [None, ["A"]]


ids = st.lists(st.sampled_from("ABC"), unique=True, max_size=3).map(lambda names: tuple(sorted(names)))
pages = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(KEYS), st.booleans(), ids), min_size=1, max_size=5),
        st.booleans(),
        st.dictionaries(st.sampled_from(KEYS), ids.filter(bool), max_size=2),
    ),
    max_size=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=pages)
def test_overlapping_pages_agree_with_a_dictionary(database: Database, pages: list[Any]) -> None:
    """Storing overlapping pages gives the same result as a plain dictionary."""
    empty(database)
    plain: dict[EventKey, tuple[bool, SignalIds]] = {}
    for drawn, signals_are_on, others in pages:
        # An event has the same content on each page.
        page = [(key, is_remembered, names) for key, is_remembered, names in drawn]
        first = {key: (is_remembered, names) for key, is_remembered, names in reversed(page)}
        events = [history_row(key) for key, _, _ in page]
        kept = [history_row(key) for key, _, _ in page if first[key][0]]
        signals = {key: names for key, (_, names) in first.items() if names} if signals_are_on else {}
        signals |= {
            key: tuple(dict.fromkeys((*signals.get(key, ()), *names))) for key, names in others.items()
        }
        with database.write() as connection:
            added = add_events(connection, ORG, events, kept, signals)
        new_events = new_signals = 0
        for key, (is_remembered, names) in first.items():
            new_events += key not in plain
            was_remembered, had = plain.get(key, (False, ()))
            more = tuple(name for name in names if signals_are_on and name not in had)
            new_signals += len(more)
            plain[key] = (was_remembered or is_remembered, had + more)
        for key, names in others.items():
            if key in plain:
                more = tuple(name for name in names if name not in plain[key][1])
                new_signals += len(more)
                plain[key] = (plain[key][0], plain[key][1] + more)
        assert counts(added) == (new_events, new_signals)
    found = {
        (to_text(row["published"]), row["uuid"]): (row["fields"] is not None, tuple(row["signals"] or ()))
        for row in rows(database, "events")
    }
    assert found == plain
