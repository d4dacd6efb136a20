"""The cache of history agrees with the database, within its limit of bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oktawatch.detection.history import qualifies
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.engine.history_cache import CacheLimit, HistoryCache
from oktawatch.model.history import Column, HistoryRow, SeenQuery, memory_of
from oktawatch.model.timestamps import FIRST, LAST, shifted, to_text
from oktawatch.store.database import Database
from oktawatch.store.history import StoredHistory
from oktawatch.store.page_transaction import page_transaction
from tests.support.databases import NOW, ORG, DiedError, empty, open_database
from tests.support.history import MAX_BYTES, SHORT_ROW_BYTES, any_true, properties, row_values, sorted_columns
from tests.support.places import Kind, place_of
from tests.support.properties import examples
from tests.unit.detection.events import NOON


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all examples of a property; each example empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("history")) as place, open_database(place) as made:
        yield made


class Actors(MultipleSessions):
    """A rule that counts every event of an actor."""

    window = timedelta(minutes=1)

    def takes(self, row: HistoryRow) -> bool:
        """Return True for every row."""
        return True

    def wants(self) -> Callable[[Any], bool]:
        """Return a predicate that is true for every event."""
        return bool


def around(rows: Iterable[HistoryRow], row: HistoryRow) -> list[tuple[Any, ...]]:
    """Return the rows of an actor that a rule may use when an event arrives."""
    since, until = shifted(row.published, -Actors.window), shifted(row.published, Actors.window)
    return sorted_columns(
        other for other in rows if since <= other.published <= until and other.actor_id == row.actor_id
    )


@settings(properties, max_examples=examples(100))
@given(
    pages=st.lists(st.lists(row_values, max_size=4, unique_by=lambda row: row.uuid), min_size=4, max_size=10),
    max_rows=st.sampled_from([0, 1, 3, 6, 100, 100, 100]),
    evict_above=st.sampled_from([0, 0, 3, 100]),
    data=st.data(),
)
def test_cached_rows_agree_with_the_database(
    database: Database, pages: list[list[HistoryRow]], max_rows: int, evict_above: int, data: st.DataObject
) -> None:
    """The cache agrees with the database, for any limits, other writers and rollbacks."""
    empty(database)
    limit = CacheLimit(max_rows * SHORT_ROW_BYTES)
    cache, other = HistoryCache(limit, evict_above=evict_above * SHORT_ROW_BYTES), HistoryCache(limit)
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
            assert cache.size_bytes + other.size_bytes <= max_rows * SHORT_ROW_BYTES
            everything = stored.between(FIRST, LAST, max_bytes=MAX_BYTES) or []
            for key, row in arrivals:
                if buffers is not None:
                    assert around(buffers.buffer(key), row) == around(everything, row)
            match data.draw(st.sampled_from(["adds"] * 6 + ["dies", "another adds", "another cache grows"])):
                case "adds":
                    if buffers is not None:
                        buffers.insert(arrivals)
                    transaction.add_events(rows_of_page, rows_of_page)
                    current.commit(transaction.history_version)
                    assert cache.size_bytes + other.size_bytes <= max_rows * SHORT_ROW_BYTES
                case "dies":
                    transaction.add_events(rows_of_page, rows_of_page)
                    current.commit(transaction.history_version)
                    raise DiedError
                case "another adds":
                    transaction.add_events(rows_of_page, rows_of_page)
                case "another cache grows":
                    other.size_bytes = max(0, max_rows * SHORT_ROW_BYTES - cache.size_bytes)


@properties
@given(
    pages=st.lists(st.lists(row_values, max_size=4, unique_by=lambda row: row.uuid), max_size=8),
    conditions=st.sampled_from([{}, {"is_proxy": True}]),
    any_true=any_true,
    data=st.data(),
)
def test_cached_seen_keys_agree_with_the_database(
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


def test_recently_seen_actors_are_not_queried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_dropped_caches_release_their_part_of_the_limit() -> None:
    """Caches of dropped orgs release their share of the limit."""
    limit = CacheLimit(10)
    first, second = HistoryCache(limit), HistoryCache(limit)
    first.size_bytes, second.size_bytes = 3, 4
    assert limit.free() == 3
    del first
    assert limit.free() == 6


def test_a_page_with_too_many_time_ranges_is_not_cached(database: Database) -> None:
    """A page with events in too many time ranges is read from the table, and a few stray events are cached."""
    empty(database)
    rule = Actors()
    rules = RuleSet([rule])
    cache = HistoryCache(CacheLimit(100 * SHORT_ROW_BYTES))
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


def test_the_cache_is_bounded_in_bytes(database: Database) -> None:
    """The cache is bounded in bytes, since strangers choose how long a text is."""
    rule = Actors()
    rules = RuleSet([rule])
    for text, fits in (("x", True), ("\U0001f600" * 500, False)):
        empty(database)
        cache = HistoryCache(CacheLimit(20 * SHORT_ROW_BYTES))
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


def test_long_keys_are_not_cached() -> None:
    """A long key is not cached, because thousands of keys are cached for each org and attackers can choose them."""
    cache = HistoryCache()
    for value, cached in (("a" * 100, True), ("a" * 101, False)):
        query = SeenQuery(value, to_text(NOON), to_text(NOON), "u1")
        cache.remember(("actor_alternate_id",), [query])
        assert cache.has_earlier(("actor_alternate_id",), query._replace(uuid="u2")) is cached
