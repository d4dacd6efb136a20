"""Windowed rules through the whole pipeline find the same as a simple reference implementation."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from oktawatch.detection.history import MemoryHistory, qualifies
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, build_rules
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.engine.history_cache import CacheLimit, HistoryCache
from oktawatch.engine.pipeline import PageResult, Watch, commit_page
from oktawatch.model.event import Event
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
from oktawatch.model.timestamps import FIRST, LAST, from_text, shifted, to_text
from oktawatch.store.database import Database
from oktawatch.store.events import add_events
from oktawatch.store.history import StoredHistory
from oktawatch.store.page_transaction import page_transaction
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.support.streams import page
from tests.unit.detection.events import NOON
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body, first_seen

OTHER = "other"
MANY = 100 * 30_000
"""Bytes of more rows than a test has, however long their texts."""
ROW = ROW_BYTES + 100
"""Bytes of a row with short texts."""
properties = settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class DiedError(Exception):
    """The process died before the page was committed."""


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all examples of a property; each example empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("history")) as place, open_database(place, OTHER) as made:
        yield made


def commit(
    database: Database,
    rules: RuleSet,
    bodies: list[Body],
    *,
    org: str = ORG,
    watch: Watch | None = None,
    dies: bool = False,
) -> PageResult:
    """Commit a page, or die at its very end. Without a ``watch`` it is the first page of a process."""

    def advance(_transaction: Any, _result: PageResult) -> None:
        if dies:
            raise DiedError

    return commit_page(
        database,
        watch or Watch(org=org, rules=rules),
        page([Event.from_body(body) for body in bodies]),
        notify=True,
        advance=advance,
        now=NOW,
    )


def matched(database: Database) -> set[str]:
    """Return the events of the recorded matches."""
    return {match["event_uuid"] for match in rows(database, "matches")}


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@properties
@given(data=st.data())
def test_the_pipeline_records_what_a_plain_reference_finds(
    database: Database, rule_id: str, data: st.DataObject
) -> None:
    """The pipeline finds the reference's matches for any order, page boundaries, repetitions, crashes and restarts."""
    empty(database)
    rules = RuleSet([rule_of(rule_id)])
    watch = Watch(org=ORG, rules=rules)
    stream = data.draw(streams(rule_id))
    pages = [list(part) for part in pages_of(data, stream)]
    for part in pages:
        if data.draw(st.booleans(), label="fails first"):
            with suppress(DiedError):
                commit(database, rules, part, watch=watch, dies=True)
        if data.draw(st.booleans(), label="starts anew"):
            watch = Watch(org=ORG, rules=rules)
        if data.draw(st.booleans(), label="another process reads it first"):
            commit(database, rules, part)
        commit(database, rules, part, watch=watch)
        if data.draw(st.booleans(), label="reads some page again"):
            commit(database, rules, data.draw(st.sampled_from(pages)), watch=watch)
    assert matched(database) == REFERENCE_RULES[rule_id].matches(stream)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@properties
@given(data=st.data())
def test_any_cut_into_pages_leaves_the_same_rows(
    database: Database, rule_id: str, data: st.DataObject
) -> None:
    """Alerts, matches and their contexts are the same for one page and for many."""
    rules = RuleSet([rule_of(rule_id)])
    stream = data.draw(streams(rule_id))
    empty(database)
    commit(database, rules, stream)
    whole = outcome(database)
    empty(database)
    watch = Watch(org=ORG, rules=rules)
    for part in pages_of(data, stream):
        commit(database, rules, list(part), watch=watch)
    cut = outcome(database)
    for kept in (whole, cut):
        for alert in kept["alerts"]:
            # Only events of the current page are complete, so most of the context depends on the page boundaries.
            alert["context"] = {
                key: alert["context"].get(key) for key in ("evidence", "warmup", "event_type")
            }
    assert cut == whole


@properties
@given(stream=streams(FirstProxiedSession.id), data=st.data())
def test_a_first_occurrence_is_the_first_of_the_stream(
    database: Database, stream: list[Body], data: st.DataObject
) -> None:
    """A first occurrence is the first event of the stream, read page by page from a database."""
    empty(database)
    for part in pages_of(data, stream):
        commit(database, RuleSet([FirstProxiedSession()]), list(part))
    assert matched(database) == set(first_seen(stream))


def test_orgs_have_their_own_past(database: Database) -> None:
    """History of an actor in one org does not affect another org."""
    empty(database)
    body = body_of(
        1,
        timedelta(),
        {"eventType": "user.session.start", "actor.id": "00u1", "securityContext.isProxy": True},
    )
    rules = RuleSet([FirstProxiedSession()])
    assert [commit(database, rules, [body], org=org).matches for org in (ORG, OTHER, ORG)] == [1, 1, 0]


def test_every_rule_can_be_on_at_once(database: Database) -> None:
    """All rules can evaluate the same page, and signals raise no alerts."""
    empty(database)
    rules = build_rules({}, enable=["*"], read_file=str)
    assert len(rules.rules) == len(BUILT_IN)
    body = body_of(
        1,
        timedelta(),
        {
            "eventType": "user.session.start",
            "actor.id": "00u1",
            "actor.alternateId": "nora@example.com",
            "client.ipAddress": "203.0.113.7",
            "outcome.result": "SUCCESS",
            "securityContext.isProxy": True,
        },
    )
    result = commit(database, rules, [body])
    assert (result.matches, result.alert_count) == (3, 2)
    recorded = {"org": ORG, "published": NOON, "event_uuid": "e-001", "rule_id": "Okta.Login.Success"}
    assert rows(database, "signals") == [recorded]
    assert {match["rule_id"] for match in rows(database, "matches")} == {
        "Okta.Anonymizing.VPN.Login",
        "Okta.First.Proxied.Session",
    }
    signal = RuleSettings(enabled=False)
    again = build_rules({"Okta.Login.Success": signal}, enable=["*"], read_file=str)
    assert commit(database, again, [body]).matches == 0
    assert commit(database, rules, [body]).matches == 0


def test_people_see_the_columns_of_a_row_in_their_order(database: Database) -> None:
    """The view has the columns of a history row in their order."""
    with database.read() as connection:
        asked = connection.exec_driver_sql("SELECT * FROM history")
        assert list(asked.keys()) == ["org", *COLUMNS]


row_values = st.builds(
    HistoryRow,
    published=st.integers(0, 6).map(lambda n: to_text(NOON + n * timedelta(minutes=1))),
    uuid=st.sampled_from("abcdef"),
    event_type=st.sampled_from(["user.session.start", "user.authentication.sso", "user%", "zone.update"]),
    actor_id=st.sampled_from(["00u1", "00u2", None]),
    client_ip=st.sampled_from(["203.0.113.7", None]),
    is_proxy=st.sampled_from([True, False, None]),
    anonymous_tunnel=st.sampled_from([True, None]),
    behaviours=st.sampled_from(['["New Device"]', None]),
)
any_true = st.sampled_from([(), ("is_proxy",), ("is_proxy", "anonymous_tunnel"), ("anonymous_tunnel",)])
moments = st.integers(-1, 7).map(lambda n: to_text(NOON + n * timedelta(minutes=1)))


def plain(found: Any) -> list[tuple[Any, ...]]:
    """Return the columns of the distinct rows, sorted."""
    return sorted({row.columns for row in found}, key=str)


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
def test_the_database_answers_as_memory_does(
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
            first, second = (plain(history.rows(column, ranges)) for history in both)
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
def test_the_index_and_the_scan_answer_alike(
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
def test_any_text_is_remembered_as_it_is(database: Database, row: HistoryRow) -> None:
    """Any text is stored unchanged in history, for rules and for people, and is found by each of its columns."""
    empty(database)
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        both = [row, HistoryRow(row.published, f"{row.uuid}+", row.event_type)]
        add_events(connection, ORG, both, both)
        first, second = sorted(
            stored.between(FIRST, LAST, max_bytes=MANY) or [], key=lambda row: len(row.uuid)
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


def test_what_an_older_version_remembered_lacks_later_fields(database: Database) -> None:
    """A row of an older version is read by position, and columns that were added later are None."""
    empty(database)
    with database.write() as connection:
        stored = StoredHistory(connection, ORG)
        whole = [HistoryRow(to_text(NOON), "u", "zone.update", "00u1", risk="LOW")]
        add_events(connection, ORG, whole, whole)
        connection.exec_driver_sql("""UPDATE events SET fields = '["zone.update", "00u1"]'""")
        (row,) = stored.between(FIRST, LAST, max_bytes=MANY) or []
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


def test_what_a_page_asks_is_answered_in_one_go(database: Database) -> None:
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


class Actors(MultipleSessions):
    """A rule that counts every event of an actor."""

    window = timedelta(minutes=1)

    def takes(self, row: HistoryRow) -> bool:
        """Any."""
        return True

    def wants(self) -> Callable[[Any], bool]:
        """Any."""
        return bool


def around(rows: Iterable[HistoryRow], row: HistoryRow) -> list[tuple[Any, ...]]:
    """Return the rows of an actor that a rule may use when an event arrives."""
    since, until = shifted(row.published, -Actors.window), shifted(row.published, Actors.window)
    return plain(
        other for other in rows if since <= other.published <= until and other.actor_id == row.actor_id
    )


@settings(properties, max_examples=examples(100))
@given(
    pages=st.lists(st.lists(row_values, max_size=4, unique_by=lambda row: row.uuid), min_size=4, max_size=10),
    max_rows=st.sampled_from([0, 1, 3, 6, 100, 100, 100]),
    evict_above=st.sampled_from([0, 0, 3, 100]),
    data=st.data(),
)
def test_what_is_kept_is_what_the_database_has(
    database: Database, pages: list[list[HistoryRow]], max_rows: int, evict_above: int, data: st.DataObject
) -> None:
    """The cache agrees with the database, for any limits, other writers and rollbacks."""
    empty(database)
    limit = CacheLimit(max_rows * ROW)
    cache, other = HistoryCache(limit, evict_above=evict_above * ROW), HistoryCache(limit)
    rule = Actors()
    rules = RuleSet([rule])
    first: dict[tuple[str, str], HistoryRow] = {}  # repeated events have the same content
    for drawn in pages:
        rows_of_page = [
            HistoryRow(*first.setdefault((row.published, row.uuid), row).columns) for row in drawn
        ]
        arrivals = rule.keyed(rows_of_page, lambda *_: None)
        with suppress(DiedError), page_transaction(database, ORG, now=NOW) as transaction:
            stored, version = transaction.history, transaction.history_version
            current = cache.within(stored, version, rules, rows_of_page)
            buffers = current.buffers(rule.id) if arrivals else None
            assert cache.size_bytes + other.size_bytes <= max_rows * ROW
            everything = stored.between(FIRST, LAST, max_bytes=MANY) or []
            for key, row in arrivals:
                if buffers is not None:
                    assert around(buffers.buffer(key), row) == around(everything, row)
            match data.draw(st.sampled_from(["adds"] * 6 + ["dies", "another adds", "the room is taken"])):
                case "adds":
                    if buffers is not None:
                        buffers.insert(arrivals)
                    transaction.add_events(rows_of_page, rows_of_page)
                    current.commit(transaction.history_version)
                    assert cache.size_bytes + other.size_bytes <= max_rows * ROW
                case "dies":
                    transaction.add_events(rows_of_page, rows_of_page)
                    current.commit(transaction.history_version)
                    raise DiedError
                case "another adds":
                    transaction.add_events(rows_of_page, rows_of_page)
                case "the room is taken":
                    other.size_bytes = max(0, max_rows * ROW - cache.size_bytes)


@properties
@given(
    pages=st.lists(st.lists(row_values, max_size=4, unique_by=lambda row: row.uuid), max_size=8),
    conditions=st.sampled_from([{}, {"is_proxy": True}]),
    any_true=any_true,
    data=st.data(),
)
def test_what_was_seen_is_what_the_database_has_seen(
    database: Database,
    pages: list[list[HistoryRow]],
    conditions: dict[str, str | bool],
    any_true: Sequence[str],
    data: st.DataObject,
) -> None:
    """Cached answers about seen keys agree with the database, despite other writers and rollbacks."""
    empty(database)
    cache, rules = HistoryCache(), RuleSet([FirstProxiedSession()])
    types = ["user.session.start", "zone.update"]
    first: dict[tuple[str, str], HistoryRow] = {}  # repeated events have the same content
    for drawn in pages:
        page_rows = [HistoryRow(*first.setdefault((row.published, row.uuid), row).columns) for row in drawn]
        asked = [
            SeenQuery(row.actor_id, shifted(row.published, -timedelta(minutes=2)), row.published, row.uuid)
            for row in page_rows
            if row.actor_id and row.event_type in types and qualifies(row, conditions, any_true)
        ]
        with suppress(DiedError), page_transaction(database, ORG, now=NOW) as transaction:
            stored, version = transaction.history, transaction.history_version
            current = cache.within(stored, version, rules, page_rows)
            question: dict[str, Any] = {"event_types": types, "conditions": conditions, "any_true": any_true}
            answers = current.seen("actor_id", asked, **question)
            assert answers == stored.seen("actor_id", asked, **question)
            match data.draw(st.sampled_from(["adds", "dies", "another adds"])):
                case "adds":
                    transaction.add_events(page_rows, page_rows)
                    current.commit(transaction.history_version)
                case "dies":
                    transaction.add_events(page_rows, page_rows)
                    current.commit(transaction.history_version)
                    raise DiedError
                case "another adds":
                    transaction.add_events(page_rows, page_rows)


def test_who_came_lately_is_not_asked_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recently seen actors are not queried again."""
    empty(database)
    cache, rules = HistoryCache(), RuleSet([FirstProxiedSession()])
    questions: list[Sequence[SeenQuery]] = []
    seen = StoredHistory.seen

    def counted(self: StoredHistory, column: Column, asked: Sequence[SeenQuery], **more: Any) -> list[bool]:
        questions.append(asked)
        return seen(self, column, asked, **more)

    monkeypatch.setattr(StoredHistory, "seen", counted)
    for minute in range(3):
        moment = to_text(NOON + timedelta(minutes=minute))
        row = HistoryRow(moment, f"{minute}", "user.session.start", actor_id="00u1", is_proxy=True)
        query = SeenQuery("00u1", to_text(NOON), moment, row.uuid)
        with page_transaction(database, ORG, now=NOW) as transaction:
            current = cache.within(transaction.history, transaction.history_version, rules, [row])
            found = current.seen("actor_id", [query], event_types=["user.*"], conditions={"is_proxy": True})
            assert found == [minute > 0]
            transaction.add_events([row], [row])
            current.commit(transaction.history_version)
    assert len(questions) == 1


def test_orgs_share_room_and_leave_it_when_they_go() -> None:
    """Caches of dropped orgs release their share of the limit."""
    limit = CacheLimit(10)
    first, second = HistoryCache(limit), HistoryCache(limit)
    first.size_bytes, second.size_bytes = 3, 4
    assert limit.free() == 3
    del first
    assert limit.free() == 6


def test_a_page_from_all_over_the_calendar_is_not_kept(database: Database) -> None:
    """A page with events in too many time ranges is read from the table, and a few stray events are cached."""
    empty(database)
    rule = Actors()
    rules = RuleSet([rule])
    cache = HistoryCache(CacheLimit(100 * ROW))
    for count, kept in ((9, False), (8, True), (20, False)):
        page_rows = [
            HistoryRow(to_text(NOON + n * timedelta(days=9)), f"{n}", "x", actor_id="00u1")
            for n in range(count)
        ]
        with page_transaction(database, ORG, now=NOW) as transaction:
            current = cache.within(transaction.history, transaction.history_version, rules, page_rows)
            assert (current.buffers(rule.id) is not None) is kept
            transaction.add_events(page_rows, page_rows)
            current.commit(transaction.history_version)
        assert (cache.size_bytes > 0) is kept


def test_long_texts_take_the_room_of_many_rows(database: Database) -> None:
    """The cache is bounded in bytes, since strangers choose how long a text is."""
    rule = Actors()
    rules = RuleSet([rule])
    for text, fits in (("x", True), ("\U0001f600" * 500, False)):
        empty(database)
        cache = HistoryCache(CacheLimit(20 * ROW))
        for number in range(3):
            moment = to_text(NOON + timedelta(seconds=number))
            page_rows = [
                HistoryRow(moment, f"{number}-{n}", "x", "00u1", text, text, user_agent=text)
                for n in range(4)
            ]
            with page_transaction(database, ORG, now=NOW) as transaction:
                current = cache.within(transaction.history, transaction.history_version, rules, page_rows)
                assert (current.buffers(rule.id) is not None) is fits
                transaction.add_events(page_rows, page_rows)
                current.commit(transaction.history_version)
        assert cache.size_bytes == (memory_of(page_rows) * 3 if fits else 0)


def test_no_more_is_read_than_there_is_room_for(database: Database) -> None:
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


def test_a_long_key_is_not_cached_among_those_seen() -> None:
    """A long key is not cached, because thousands of keys are cached for each org and attackers can choose them."""
    cache = HistoryCache()
    for value, cached in (("a" * 100, True), ("a" * 101, False)):
        query = SeenQuery(value, to_text(NOON), to_text(NOON), "u1")
        cache.remember(("actor_alternate_id",), [query])
        assert cache.has_earlier(("actor_alternate_id",), query._replace(uuid="u2")) is cached


def test_a_page_of_many_keys_parses_them_once(database: Database) -> None:
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
