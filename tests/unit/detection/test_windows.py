"""A windowed rule matches by its key, lists its evidence, and is not stopped by exceptions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.registry import RuleSet
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.detection.rules.failed_logins_unknown_user import FailedLoginsUnknownUser
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.detection.windows import MOST_EVIDENCE
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from tests.support.rule_memory import Memory, no_error
from tests.unit.detection.history_streams import body_of
from tests.unit.detection.reference import Body


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
