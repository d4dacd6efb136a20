"""Signals in windowed rules."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.first_seen import FirstSeen
from oktawatch.detection.history import MemoryHistory
from oktawatch.detection.registry import BUILT_IN, RuleSet, RuleSettings, configured_rules
from oktawatch.detection.rule import EventRule, Rule
from oktawatch.detection.signals import Seen, SignalRule
from oktawatch.detection.validation import fault_of
from oktawatch.detection.windows import CountInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.severity import Severity
from tests.unit.detection.history_streams import body_of

METADATA: dict[str, Any] = {
    "name": "n", "description": "d", "runbook": "r", "false_positives": "f", "event_types": ("zone.update",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sso(SignalRule):
    """A custom signal."""

    id = "Acme.Sso"
    name = description = runbook = false_positives = "x"
    event_types = ("user.authentication.sso",)

    severity: Severity = Severity.INFO
    dedup_period: timedelta = timedelta(hours=1)
    results: tuple[str, ...] = ("SUCCESS",)

    def matches(self, event: Seen) -> bool:
        """Match the configured outcomes."""
        return event.outcome_result in self.results


@dataclass(frozen=True, kw_only=True)
class ManySso(CountInWindow):
    """A rule that counts the events of the signal."""

    id = "Acme.Many.Sso"
    name = description = runbook = false_positives = "x"
    event_types = ("zone.update",)
    signals = (Sso.id,)
    column = "actor_id"

    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(minutes=10)
    at_least: int = 2

    def takes(self, row: HistoryRow) -> bool:
        """Return whether the row is the signal."""
        return self.signalled(row, Sso.id)

    def key(self, row: HistoryRow) -> tuple[str | None, ...]:
        """Return the actor."""
        return (row.actor_id,)


def rule_with_signal(**options: Any) -> Rule:
    """Build the counting rule, with options of its signal."""
    settings = {Sso.id: RuleSettings(options=options)}
    return configured_rules(settings, read_file=str, classes=(Sso, ManySso))[ManySso.id]


def sso(number: int, **fields: Any) -> dict[str, Any]:
    """Build a single sign-on."""
    given = {"eventType": "user.authentication.sso", "actor.id": "00u1", "outcome.result": "SUCCESS"}
    return body_of(number, number * timedelta(minutes=1), given | fields)


def matched(rule: Rule, *bodies: dict[str, Any]) -> list[str]:
    """Evaluate events one after the other."""
    rules, history, found = RuleSet([rule]), MemoryHistory(), []
    for event in map(Event.from_body, bodies):
        rows = rules.history_rows([event])
        found += [match.event_uuid for match in rules.evaluate([event], rows, history, fail).matches]
        history.add(rows)
    return found


def fail(_rule: Rule, _uuid: str, error: Exception) -> None:
    """Fail the test, because no rule may raise here."""
    raise error


def test_events_of_a_signal_are_in_the_window() -> None:
    """A rule that uses a signal adds its event types to the filter and to history, even if the signal is not enabled."""
    rule = rule_with_signal()
    assert rule.needed_types() == ("zone.update", "user.authentication.sso")
    assert 'eventType eq "user.authentication.sso"' in RuleSet([rule]).filter
    assert matched(rule, sso(1), sso(2, **{"outcome.result": "FAILURE"}), sso(3)) == ["e-003"]


def test_a_signal_uses_its_own_options() -> None:
    """A signal uses its own options, whichever rule calls it."""
    assert matched(rule_with_signal(results=["FAILURE"]), sso(1), sso(2)) == []
    assert matched(rule_with_signal(results=["FAILURE", "SUCCESS"]), sso(1), sso(2)) == ["e-002"]


def test_a_signal_is_recorded_and_makes_no_alert() -> None:
    """A signal is recorded by the id of its rule and raises no alert."""
    rules = RuleSet(configured_rules({}, read_file=str, classes=(Sso,)).values())
    event = Event.from_body(sso(1))
    found = rules.evaluate([event], [], MemoryHistory(), fail)
    assert (found.matches, found.signals) == ([], {(event.published, event.uuid): (Sso.id,)})
    assert rules.policies[Sso.id].signal


def test_a_signal_that_raises_is_reported_and_stops_nothing() -> None:
    """An exception of a signal is reported as one of the rule that uses it."""
    broken = type("Broken", (Sso,), {"matches": lambda _self, _event: 1 / 0})
    made = configured_rules(
        {}, read_file=str, classes=(dataclass(frozen=True, kw_only=True)(broken), ManySso)
    )
    rules, reported = RuleSet([made[ManySso.id]]), []
    event = Event.from_body(sso(1))
    rows = rules.history_rows([event])
    rules.evaluate([event], rows, MemoryHistory(), lambda *settings: reported.append(settings[0].id))
    assert reported == [ManySso.id]


SEEN = [name for name, one in vars(Seen).items() if isinstance(one, property)]
texts = st.sampled_from(["", "unknown", "-", "null", "x", "a@example.com", "long" * 600])
values = st.one_of(texts, st.none(), st.booleans(), st.integers(), st.lists(texts), st.just({}))
PATHS = (
    "eventType", "actor.id", "actor.alternateId", "actor.displayName", "client.ipAddress", "client.userAgent",
    "client.userAgent.rawUserAgent", "outcome.result", "outcome.reason", "authenticationContext.externalSessionId",
    "debugContext.debugData.dtHash", "securityContext.isProxy",
)  # fmt: skip


@given(chosen=st.lists(st.tuples(st.sampled_from(PATHS), values), max_size=8))
def test_a_signal_gives_the_same_result_for_an_event_and_its_row(chosen: list[tuple[str, Any]]) -> None:
    """A signal gives the same result for an event and its row."""
    body: dict[str, Any] = body_of(1, timedelta(), {})
    for path, value in chosen:
        *way, last = path.split(".")
        place = body
        for key in way:
            found = place.get(key)
            place[key] = place = found if isinstance(found, dict) else {}
        place[last] = value
    event = Event.from_body(body)
    row = HistoryRow(*HistoryRow.of(event).columns)
    for name in SEEN:
        assert getattr(event, name) == getattr(row, name), name


def test_a_rule_can_use_the_built_in_signal() -> None:
    """A rule can use the built-in signal, but not a rule that raises alerts."""
    assert [rule.id for rule in BUILT_IN if issubclass(rule, SignalRule)] == ["Okta.Login.Success"]


def test_a_signal_can_use_only_history_columns() -> None:
    """A signal that reads a field that history lacks is refused when its file is loaded."""
    foreign: Any = dataclass(frozen=True, kw_only=True)(
        type("Foreign", (Sso,), {"matches": lambda _self, event: event.isp == "Example"})
    )
    assert fault_of(Sso) is None
    assert fault_of(foreign) == "matches: history has no isp, and a signal rule can use only history columns"


@pytest.mark.parametrize(
    ("kind", "signals"),
    [
        (EventRule, (Sso.id,)),
        (FirstSeen, (Sso.id,)),
        (ManySso, "Acme.Sso"),
        (ManySso, ("no id",)),
        (ManySso, (Sso,)),
    ],
)
def test_only_windowed_rules_can_use_signals(kind: type[Rule], signals: Any) -> None:
    """Only windowed rules can use signals, which are a tuple of ids."""
    methods = {
        "matches": lambda *_: True,
        "column": "actor_id",
        "signals": signals,
        "id": "Acme.X",
        **METADATA,
    }
    fields = {"severity": Severity.LOW, "dedup_period": timedelta(hours=1), "window": timedelta(hours=1)}
    annotations = {"severity": Severity, "dedup_period": timedelta, "window": timedelta}
    made = type("Asking", (kind,), {**methods, **fields, "__annotations__": annotations})
    fault = fault_of(dataclass(frozen=True, kw_only=True)(made))
    assert fault is not None
    assert fault.startswith("signals: expected a tuple of ids")
