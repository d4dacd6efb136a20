"""Windowed rules agree with a simple reference that sees all events at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.grouping import Grouping
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.options import configured
from oktawatch.detection.registry import BUILT_IN, RuleSet
from oktawatch.detection.rule import Rule
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.detection.windows import MOST_EVIDENCE, WindowRule, time_ranges
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow, SeenQuery, TimeRange
from oktawatch.model.match import Match, MatchKey
from oktawatch.model.timestamps import to_text
from tests.support.properties import examples
from tests.unit.detection.events import NOON, event
from tests.unit.detection.history_streams import body_of, pages_of, rule_of, streams
from tests.unit.detection.reference import REFERENCE_RULES, Body, first_seen

ALL_RULES = RuleSet(configured(rule, {}, str) for rule in BUILT_IN)


class Memory:
    """An org's history and recorded matches, kept in memory from page to page."""

    def __init__(self, rule: Rule) -> None:
        self.rules = RuleSet([rule])
        self.history = MemoryHistory()
        self.recorded: dict[MatchKey, Match] = {}

    def page(self, bodies: Sequence[Body], *, committed: bool = True) -> None:
        """Evaluate a page, and store the result if the page is ``committed``."""
        events = [Event.from_body(body) for body in bodies]
        rows = self.rules.history_rows(events)
        found = self.rules.evaluate(events, rows, self.history, no_error).matches
        if committed:
            self.history.add(rows)
            for match in found:
                self.recorded.setdefault(match.key, match)

    def uuids(self) -> list[str]:
        """Return the recorded matches in the order of recording."""
        return [match.event_uuid for match in self.recorded.values()]

    def alerts(self) -> list[tuple[str, Any, int]]:
        """Group the recorded matches."""
        grouping = Grouping(self.rules.policies, recorded={}, alerts=[], notify=False)
        for match in self.recorded.values():
            grouping.add(match)
        return [(alert.dedup_key, alert.anchor, alert.event_count) for alert in grouping.opened]


def no_error(rule: Rule, uuid: str, error: Exception) -> None:
    """Fail: no rule must raise here."""
    raise AssertionError(f"{rule.id} raised at {uuid}") from error


@pytest.mark.parametrize("rule_id", REFERENCE_RULES)
@given(data=st.data())
@settings(max_examples=examples(60))
def test_windowed_rules_agree_with_the_reference(rule_id: str, data: st.DataObject) -> None:
    """Rules agree with the reference for any order, page boundaries, repetitions and crashes before a commit."""
    stream = data.draw(streams(rule_id))
    pages = pages_of(data, stream)
    memory = Memory(rule_of(rule_id))
    for page in pages:
        if data.draw(st.booleans(), label="crash before the commit"):
            memory.page(page, committed=False)
        memory.page(page)
        if data.draw(st.booleans(), label="read some page again"):
            memory.page(data.draw(st.sampled_from(pages)))
    # Repeating a page is another order of arrival.
    assert set(memory.uuids()) == REFERENCE_RULES[rule_id].matches(stream)


@pytest.mark.parametrize("rule_id", [*REFERENCE_RULES, FirstProxiedSession.id])
@given(data=st.data())
@settings(max_examples=examples(40))
def test_page_boundaries_change_neither_matches_nor_alerts(rule_id: str, data: st.DataObject) -> None:
    """One page, several pages or a page per event give the same matches in the same order, and the same alerts."""
    stream = data.draw(streams(rule_id))
    whole, cut, single = Memory(rule_of(rule_id)), Memory(rule_of(rule_id)), Memory(rule_of(rule_id))
    whole.page(stream)
    for page in pages_of(data, stream):
        cut.page(page)
    for body in stream:
        single.page([body])
    assert whole.uuids() == cut.uuids() == single.uuids()
    assert whole.alerts() == cut.alerts() == single.alerts()
    contexts = [[match.details().context for match in one.recorded.values()] for one in (whole, cut, single)]
    for some_contexts in zip(*contexts, strict=True):
        assert len({str(context["evidence"]) + str(context.get("warmup")) for context in some_contexts}) == 1


@given(streams(FirstProxiedSession.id))
def test_a_first_occurrence_is_the_first_of_the_stream(stream: list[Body]) -> None:
    """A first occurrence depends only on the order of arrival."""
    memory = Memory(FirstProxiedSession())
    memory.page(stream)
    assert memory.uuids() == first_seen(stream)


@given(streams(FirstProxiedSession.id), st.data())
def test_reading_a_first_occurrence_again_changes_nothing(stream: list[Body], data: st.DataObject) -> None:
    """An event is not earlier than itself."""
    memory = Memory(FirstProxiedSession())
    pages = pages_of(data, stream)
    for page in pages:
        memory.page(page, committed=False)
        memory.page(page)
    before = memory.uuids()
    memory.page(data.draw(st.sampled_from(pages)))
    assert memory.uuids() == before


def test_each_org_has_its_own_history() -> None:
    """The same actor's first event in another org is a first event."""
    body = body_of(
        1,
        timedelta(),
        {"eventType": "user.session.start", "actor.id": "00u1", "securityContext.isProxy": True},
    )
    orgs = Memory(FirstProxiedSession()), Memory(FirstProxiedSession())
    for org in orgs:
        org.page([body])
    assert [org.uuids() for org in orgs] == [["e-001"], ["e-001"]]


def failures(count: int, *, every: timedelta) -> list[Body]:
    """Return failed sign-ins of one login from one address."""
    values = {
        "eventType": "user.session.start",
        "actor.alternateId": "a@example.com",
        "client.ipAddress": "203.0.113.7",
        "outcome.reason": "VERIFICATION_ERROR",
    }
    return [body_of(number, number * every, values) for number in range(count)]


def test_the_context_lists_the_newest_events_of_the_window() -> None:
    """The context lists at most fifty events, the matching event last."""
    memory = Memory(FailedLoginsUnknownUser(at_least=60))
    memory.page(failures(60, every=timedelta(seconds=1)))
    (match,) = memory.recorded.values()
    evidence = match.details().context["evidence"]
    assert [one["uuid"] for one in evidence] == [
        f"e-{number:03d}" for number in range(60 - MOST_EVIDENCE, 60)
    ]
    assert evidence[-1] == {
        "uuid": "e-059",
        "published": "2026-11-02T12:00:59.000Z",
        "event_type": "user.session.start",
        "actor": "a@example.com",
        "ip": "203.0.113.7",
    }


def test_a_match_on_a_history_row_is_marked_partial() -> None:
    """A match on a history row is marked as partial, and a match on the page's own event is complete."""
    stream = failures(3, every=timedelta(seconds=1))
    memory = Memory(FailedLoginsUnknownUser(at_least=3))
    memory.page([stream[0] | {"request": {"ipChain": []}}, stream[2]])
    memory.page([stream[1]])
    (match,) = memory.recorded.values()
    context = match.details().context
    assert (match.event_uuid, context["partial"]) == ("e-002", True)
    assert (context["alternateId"], context["ips"], context["request"]) == (
        "a@example.com",
        ["203.0.113.7"],
        {},
    )
    whole = Memory(FailedLoginsUnknownUser(at_least=3))
    whole.page(stream)
    (match,) = whole.recorded.values()
    assert "partial" not in match.details().context


class Counting(MemoryHistory):
    """A history that counts its queries."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.given = 0

    def rows(self, *arguments: Any) -> list[HistoryRow]:
        """Count a query and its rows."""
        self.questions += 1
        found = list(super().rows(*arguments))
        self.given += len(found)
        return found

    def seen(self, *arguments: Any, **more: Any) -> list[bool]:
        """Count one question."""
        self.questions += 1
        return super().seen(*arguments, **more)

    def began(self, *arguments: Any) -> str | None:
        """Count one question."""
        self.questions += 1
        return super().began(*arguments)


def test_the_number_of_queries_depends_on_rules_and_not_on_events() -> None:
    """A page with events of hundreds of users, each needed by every rule, causes one query per rule."""
    history = Counting()
    for size in (1, 300):
        bodies = [
            body_of(
                number,
                timedelta(seconds=number),
                {
                    "eventType": "user.session.start",
                    "actor.id": f"00u{number}",
                    "actor.alternateId": f"user{number}@example.com",
                    "client.ipAddress": "203.0.113.7",
                    "outcome.result": "SUCCESS",
                    "outcome.reason": reason,
                    "authenticationContext.externalSessionId": f"s{number}",
                    "debugContext.debugData.dtHash": f"h{number}",
                    "debugContext.debugData.behaviors": "{New Country=POSITIVE, New Geo-Location=POSITIVE, New Device=POSITIVE}",
                    "securityContext.isProxy": True,
                    "securityContext.risk": {"level": "HIGH"},
                },
            )
            for number in range(size)
            for reason in ("INVALID_CREDENTIALS", "VERIFICATION_ERROR")
        ]
        events = [Event.from_body(body) for body in bodies]
        history.questions = 0
        ALL_RULES.evaluate(events, ALL_RULES.history_rows(events), history, no_error)
        assert history.questions == 8  # six windowed rules, and two queries of FirstSeen


def test_a_page_without_needed_events_causes_no_query() -> None:
    """A page without events that a rule needs causes no query."""
    history = Counting()
    events = [event(f"e-{n}", securityContext={"isProxy": False}, actor=None) for n in range(9)]
    found = ALL_RULES.evaluate(events, ALL_RULES.history_rows(events), history, no_error)
    assert (found.matches, found.signals) == ([], {})
    assert history.questions == 0


def row(at: timedelta, actor: str) -> HistoryRow:
    """Build a history row of an actor."""
    return HistoryRow(to_text(NOON + at), actor, "x", actor_id=actor)


def test_nearby_rows_share_a_time_range_and_an_absurd_time_has_its_own() -> None:
    """An event dated 9999 does not make a page read years of history."""
    hour = timedelta(hours=1)
    rows = [row(hour, "b"), row(timedelta(), "a"), row(timedelta(days=9), "c")]
    rows.append(HistoryRow("9999-12-31T23:59:59.000Z", "x", "x", actor_id="d"))
    rows.append(HistoryRow("0001-01-01T00:00:00.000Z", "x", "x", actor_id="e"))
    assert time_ranges(rows, "actor_id", hour) == [
        TimeRange("0001-01-01T00:00:00.000Z", "0001-01-01T01:00:00.000Z", frozenset("e")),
        TimeRange("2026-11-02T11:00:00.000Z", "2026-11-02T14:00:00.000Z", frozenset("ab")),
        TimeRange("2026-11-11T11:00:00.000Z", "2026-11-11T13:00:00.000Z", frozenset("c")),
        TimeRange("9999-12-31T22:59:59.000Z", "9999-12-31T23:59:59.999Z", frozenset("d")),
    ]


def test_reading_an_attack_again_costs_no_more_than_reading_it_once() -> None:
    """Each event of a page is evaluated once, however many events are repeated."""
    looked_at = []

    class Watched(FailedLoginsUnknownUser):
        fewest = 1

        def holds(self, window: Sequence[HistoryRow]) -> bool:
            looked_at.append(window[-1].uuid)
            return super().holds(window)

    memory = Memory(Watched(at_least=300))
    page = failures(300, every=timedelta(milliseconds=1))
    memory.page(page)
    memory.page(page)
    assert len(looked_at) == 600


def test_exceptions_in_a_windowed_rule_are_reported_and_stop_nothing() -> None:
    """An exception of `takes`, `key` or `holds` is reported, and other events are evaluated."""
    errors: list[tuple[str, str]] = []

    class Broken(FailedLoginsUnknownUser):
        def takes(self, row: HistoryRow) -> bool:
            if row.uuid == "e-000":
                raise KeyError("surprise")
            return super().takes(row)

        def holds(self, window: Sequence[HistoryRow]) -> bool:
            if window[-1].uuid == "e-004":
                raise ValueError("surprise")
            return super().holds(window)

    rules = RuleSet([Broken(at_least=3)])
    events = [Event.from_body(body) for body in failures(6, every=timedelta(seconds=1))]
    found = rules.evaluate(
        events,
        rules.history_rows(events),
        MemoryHistory(),
        lambda _, uuid, error: errors.append((uuid, repr(error))),
    )
    assert [match.event_uuid for match in found.matches] == ["e-003", "e-005"]
    assert errors == [("e-000", "KeyError('surprise')"), ("e-004", "ValueError('surprise')")]


@pytest.mark.parametrize("wrong", [["list"], ([],), 7, "text", None])
def test_a_key_of_the_wrong_type_is_reported_and_stops_nothing(wrong: Any) -> None:
    """A key of the wrong type is reported like an exception, and other events are evaluated."""
    errors: list[tuple[str, str]] = []

    class Broken(FailedLoginsUnknownUser):
        def key(self, row: HistoryRow) -> Any:
            return wrong if row.uuid == "e-000" else super().key(row)

    rules = RuleSet([Broken(at_least=3)])
    events = [Event.from_body(body) for body in failures(4, every=timedelta(seconds=1))]
    rows = rules.history_rows(events)
    on_error = lambda _, uuid, error: errors.append((uuid, type(error).__name__))  # noqa: E731 -- a callback
    assert [
        match.event_uuid for match in rules.evaluate(events, rows, MemoryHistory(), on_error).matches
    ] == ["e-003"]
    assert errors == [("e-000", "TypeError")]


def test_a_key_comes_from_a_column_or_declared_columns_or_a_method() -> None:
    """A rule's key is its column, its declared columns, or the value of its own method, which has precedence."""

    class Declared(MultipleSessions):
        keyed_by = ("client_ip", "actor_id")

    class Own(Declared):
        def key(self, row: HistoryRow) -> Any:
            return (row.actor_id, "own")

    whose = [
        HistoryRow("", "", "user.session.start", actor_id="00u1", client_ip="::1", external_session_id="s")
    ]
    whose.append(HistoryRow("", "", "user.session.start", actor_id="00u2", external_session_id="s"))
    expected = (
        (MultipleSessions(), [("00u1",), ("00u2",)]),
        (Declared(), [("::1", "00u1")]),
        (Own(), [("00u1", "own"), ("00u2", "own")]),
    )
    for rule, keys in expected:
        parts = rule.keyed(whose, no_error)
        assert [key for key, _ in parts] == keys
        assert all(rule.key(row) == key for key, row in parts)


def test_a_key_part_that_is_not_text_loses_no_match() -> None:
    """A match whose key has a part that is not a text gets the default dedup key."""

    class Broken(FailedLoginsUnknownUser):
        def key(self, row: HistoryRow) -> Any:
            return (7, row.client_ip)

    rules = RuleSet([Broken(at_least=2)])
    events = [Event.from_body(body) for body in failures(2, every=timedelta(seconds=1))]
    (match,) = rules.evaluate(events, rules.history_rows(events), MemoryHistory(), no_error).matches
    assert match.dedup_key == AnonymizingVpnLogin().match(events[1]).dedup_key


def test_history_is_needed_for_the_longest_window() -> None:
    """The needed length of history is the longest window, and none for the main detection."""
    alone = RuleSet([AnonymizingVpnLogin()])
    assert (ALL_RULES.longest_window, alone.longest_window) == (timedelta(days=7), timedelta())


def test_sign_ins_are_in_history_with_any_rules() -> None:
    """History has all sign-ins, and the types that rules look back at."""
    kinds = ("user.session.start", "user.authentication.sso", "user.lifecycle.create")
    events = [event(eventType=kind) for kind in kinds]
    found = [[row.event_type for row in rules.history_rows(events)] for rules in (RuleSet([]), ALL_RULES)]
    assert found == [["user.session.start"], list(kinds[:2])]
    assert [RuleSet([]).is_in_history(kind) for kind in kinds] == [True, False, False]


def test_the_reference_implements_every_windowed_rule() -> None:
    """The reference implements every windowed rule."""
    assert {rule.id for rule in BUILT_IN if issubclass(rule, WindowRule)} == set(REFERENCE_RULES)
    assert [rule.id for rule in BUILT_IN if issubclass(rule, FirstSeen)] == [FirstProxiedSession.id]


def test_memory_history_follows_the_protocol() -> None:
    """Time ranges include both ends, an event is not earlier than itself, and types and conditions apply."""
    history = MemoryHistory()
    times_of = [timedelta(), timedelta(minutes=1), timedelta(minutes=2)]
    rows = [row(at, "a") for at in times_of]
    history.add([*rows, *rows])
    texts = [one.published for one in rows]
    assert [
        one.published for one in history.rows("actor_id", [TimeRange(texts[0], texts[1], frozenset("ab"))])
    ] == texts[:2]
    assert list(history.rows("client_ip", [TimeRange(texts[0], texts[1], frozenset("a"))])) == []
    queries = [
        SeenQuery("a", texts[1], texts[1], "a"),
        SeenQuery("a", texts[1], texts[1], "other"),
        SeenQuery("a", texts[0], texts[1], "a"),
        SeenQuery("b", texts[0], texts[1], "b"),
    ]
    assert history.seen("actor_id", queries, event_types=["x"], conditions={}) == [False, True, True, False]
    assert not any(history.seen("actor_id", queries, event_types=["y.*"], conditions={}))
    assert not any(history.seen("actor_id", queries, event_types=["x"], conditions={"is_proxy": True}))
    assert (history.began(["x"]), history.began(["y"])) == (texts[0], None)
