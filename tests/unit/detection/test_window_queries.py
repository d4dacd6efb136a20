"""Rules query history once per rule and page, in few ranges of time."""

from datetime import timedelta
from typing import Any

from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.options import configured
from oktawatch.detection.registry import BUILT_IN, RuleSet
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.windows import time_ranges
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow, SeenQuery, TimeRange
from oktawatch.model.timestamps import to_text
from tests.support.rule_memory import no_error
from tests.unit.detection.events import NOON, event
from tests.unit.detection.history_streams import body_of

ALL_RULES = RuleSet(configured(rule, {}, str) for rule in BUILT_IN)


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
