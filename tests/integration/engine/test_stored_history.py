"""The stored history answers queries as a history in memory does, without reading more than it needs."""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.model.history import (
    COLUMNS,
    FLAGS,
    ROW_BYTES,
    Column,
    HistoryRow,
    SeenQuery,
    TimeRange,
    memory_of,
)
from oktawatch.model.timestamps import FIRST, LAST, from_text, to_text
from oktawatch.store.database import Database
from oktawatch.store.events import add_events
from oktawatch.store.history import StoredHistory
from tests.support.databases import ORG, empty, open_database, rows
from tests.support.history import (
    MAX_BYTES,
    any_true,
    moments,
    properties,
    row_values,
    sorted_columns,
)
from tests.support.places import Kind, place_of
from tests.unit.detection.events import NOON

OTHER = "other"


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all examples of a property; each example empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("history")) as place, open_database(place, OTHER) as made:
        yield made


def test_the_view_has_the_columns_of_a_row_in_order(database: Database) -> None:
    """The view has the columns of a history row in their order."""
    with database.read() as connection:
        asked = connection.exec_driver_sql("SELECT * FROM history")
        assert list(asked.keys()) == ["org", *COLUMNS]


@properties
@given(
    remembered=st.lists(row_values, max_size=12),
    ranges=st.lists(
        st.builds(
            TimeRange, moments, moments, st.frozensets(st.sampled_from(["00u1", "00u2", "203.0.113.7"]))
        ),
        max_size=3,
    ),
    asked=st.lists(
        st.builds(SeenQuery, st.sampled_from(["00u1", "00u2"]), moments, moments, st.sampled_from("abx")),
        max_size=4,
    ),
    types=st.lists(
        st.sampled_from(["user.session.start", "user.*", "zone.update", "user%*", "*"]), max_size=3
    ),
    conditions=st.sampled_from([{}, {"is_proxy": True}, {"is_proxy": False, "client_ip": "203.0.113.7"}]),
    any_true=any_true,
)
def test_the_database_gives_the_same_answers_as_memory(
    database: Database,
    remembered: list[HistoryRow],
    ranges: list[TimeRange],
    asked: list[SeenQuery],
    types: list[str],
    conditions: dict[str, str | bool],
    any_true: Sequence[str],
) -> None:
    """The stored history and a history in memory give the same answers to every query."""
    empty(database)
    memory = MemoryHistory()
    memory.add(remembered)
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        theirs = [HistoryRow(to_text(NOON), "other", "zone.update", actor_id="00u1")]
        add_events(connection, ORG, remembered, remembered)
        add_events(connection, OTHER, theirs, theirs)
        both: list[MemoryHistory | StoredHistory] = [memory, stored]
        for column in ("actor_id", "client_ip"):
            first, second = (sorted_columns(history.rows(column, ranges)) for history in both)
            assert first == second
        seen = [
            history.seen("actor_id", asked, event_types=types, conditions=conditions, any_true=any_true)
            for history in both
        ]
        assert seen[0] == seen[1]
        assert memory.began(types) == stored.began(types)


@properties
@given(
    remembered=st.lists(row_values, max_size=12),
    asked=st.lists(
        st.builds(SeenQuery, st.sampled_from(["00u1", "00u2"]), moments, moments, st.sampled_from("abx")),
        max_size=6,
    ),
    types=st.sampled_from([["user.session.start"], ["user.*", "zone.update"], ["*"]]),
    conditions=st.sampled_from([{}, {"is_proxy": True}, {"anonymous_tunnel": True}]),
    any_true=any_true,
)
def test_index_and_scan_give_the_same_answers(
    database: Database,
    remembered: list[HistoryRow],
    asked: list[SeenQuery],
    types: list[str],
    conditions: dict[str, str | bool],
    any_true: Sequence[str],
) -> None:
    """A query that uses the index of anonymized events gives the same answer as a scan."""
    empty(database)
    for row in remembered:
        row.actor_alternate_id = row.actor_id
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        add_events(connection, ORG, remembered, remembered)
        by_index, by_scan = (
            stored.seen(column, asked, event_types=types, conditions=conditions, any_true=any_true)
            for column in ("actor_id", "actor_alternate_id")
        )
    assert by_index == by_scan


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    ['"', "\\", r"\"", "\u2028", "\U0001f600", "\x1f", "[null]", r"\u0000", "x" * 70_000]
)


@properties
@given(
    row=st.builds(
        HistoryRow,
        published=moments,
        uuid=texts,
        event_type=texts,
        as_number=st.none() | st.integers(0, 2**63 - 1),
        **{name: st.sampled_from([True, False, None]) for name in FLAGS},
        **{name: st.none() | texts for name in COLUMNS[3:] if name not in FLAGS | {"as_number"}},
    )
)
def test_any_text_is_stored_unchanged(database: Database, row: HistoryRow) -> None:
    """Any text is stored unchanged in history, for rules and for people, and is found by each of its columns."""
    empty(database)
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        both = [row, HistoryRow(row.published, f"{row.uuid}+", row.event_type)]
        add_events(connection, ORG, both, both)
        first, second = sorted(
            stored.between(FIRST, LAST, max_bytes=MAX_BYTES) or [], key=lambda row: len(row.uuid)
        )
        assert first.columns == row.columns
        assert second.columns == (row.published, f"{row.uuid}+", row.event_type, *[None] * (len(COLUMNS) - 3))
        for column in get_args(Column):
            if (value := getattr(row, column)) is not None:
                (found,) = stored.rows(column, [TimeRange(FIRST, LAST, frozenset([value]))])
                asked = [SeenQuery(value, FIRST, LAST, "another")]
                assert found.columns == row.columns
                assert stored.seen(column, asked, event_types=[row.event_type], conditions={}) == [True]
    shown = {name: getattr(row, name) for name in COLUMNS[1:]}
    (seen,) = (stored_row for stored_row in rows(database, "history") if stored_row["uuid"] == row.uuid)
    assert seen == {"org": ORG, "published": from_text(row.published)} | shown


def test_later_columns_are_none_in_rows_of_an_older_version(database: Database) -> None:
    """A row of an older version is read by position, and columns that were added later are None."""
    empty(database)
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        whole = [HistoryRow(to_text(NOON), "u", "zone.update", "00u1", risk="LOW")]
        add_events(connection, ORG, whole, whole)
        connection.exec_driver_sql("""UPDATE events SET fields = '["zone.update", "00u1"]'""")
        (row,) = stored.between(FIRST, LAST, max_bytes=MAX_BYTES) or []
    assert row == HistoryRow(to_text(NOON), "u", "zone.update", "00u1")
    assert [row["risk"] for row in rows(database, "history")] == [None]


class Explaining(StoredHistory):
    """A history that records how the database plans its queries."""

    def __init__(self, connection: Connection, org: str) -> None:
        super().__init__(connection, org)
        self.plans: list[str] = []

    def _run(self, statement: str, *values: Any) -> Any:
        explain = "EXPLAIN" if self._connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = self._connection.exec_driver_sql(f"{explain} {statement}", values).all()
        self.plans.append(" / ".join(str(step[-1]) for step in plan))
        return []


def test_many_keys_are_looked_up_by_one_query(database: Database) -> None:
    """Many keys that were never seen are looked up by one query, which scans the time range once."""
    empty(database)
    with database.write() as connection:
        history = Explaining(connection, ORG)
        asked = [SeenQuery(f"203.0.113.{n}", FIRST, LAST, f"{n}") for n in range(100)]
        assert history.seen("client_ip", asked, event_types=["user.*"], conditions={}) == [False] * 100
    (plan,) = history.plans
    assert (
        database.shared or "SEARCH events USING PRIMARY KEY (org=? AND published>? AND published<?)" in plan
    )
    assert "CORRELATED" not in plan
    assert "Nested Loop" not in plan
    assert ("hashed SubPlan" in plan) is database.shared


def test_first_proxied_events_are_found_by_an_index(database: Database) -> None:
    """The first events through an anonymizer are found by an index, and not by a scan of a week."""
    rule = FirstProxiedSession()
    empty(database)
    with database.write() as connection:
        if database.shared:
            # Postgres knows from statistics how large a table is, and reads a small one from end to end.
            past = [
                HistoryRow(
                    to_text(NOON + n * timedelta(minutes=1)), f"{n}", "zone.update", actor_id=f"{n % 500}"
                )
                for n in range(5_000)
            ]
            for n, row in enumerate(past):
                row.is_proxy = n % 7 == 0
            add_events(connection, ORG, past, past)
            connection.exec_driver_sql("ANALYZE events")
        history = Explaining(connection, ORG)
        history.seen(
            rule.column,
            [SeenQuery("a", to_text(NOON), to_text(NOON), "u")],
            event_types=rule.event_types,
            conditions=rule.conditions,
            any_true=rule.any_true(),
        )
    (plan,) = history.plans
    assert "ix_events_proxied " in plan
    assert "Seq Scan" not in plan
    assert database.shared or "(org=? AND proxied_actor=? AND published>? AND published<?)" in plan


def test_reading_stops_at_the_limit_of_bytes(database: Database) -> None:
    """Rows are not read completely to find out that they exceed the limit."""
    empty(database)
    long = [
        HistoryRow(to_text(NOON), f"{n:04}", "x", user_agent="\U0001f600" * 500, outcome_reason=f"{n}")
        for n in range(2_500)
    ]
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        add_events(connection, ORG, long, long)
        assert stored.between(FIRST, LAST, max_bytes=memory_of(long) - 1) is None
        assert stored.between(FIRST, LAST, max_bytes=2_000 * ROW_BYTES) is None
        found = stored.between(FIRST, LAST, max_bytes=memory_of(long)) or []
    # The rows have no order: Postgres scans the index or the table, depending on its statistics.
    assert sorted(found, key=lambda row: row.uuid) == long


def test_a_query_parses_its_keys_once(database: Database) -> None:
    """A page that is read from the table parses its keys once, not for each row."""
    empty(database)
    all_rows = [HistoryRow(to_text(NOON), f"{n:04}", "x", f"00u{n:04}" + "x" * 400) for n in range(2_000)]
    wanted = frozenset(row.actor_id or "" for row in all_rows[:1_000])
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        add_events(connection, ORG, all_rows, all_rows)
        started = time.monotonic()
        ranges = [TimeRange(FIRST, LAST, wanted), TimeRange(LAST, LAST, frozenset(["y"]))]
        found = stored.rows("actor_id", ranges)
        took_s = time.monotonic() - started
    assert {row.actor_id for row in found} == wanted
    assert took_s < 2
