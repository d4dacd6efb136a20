"""The rule contract: mistakes of a rule are contained."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from oktawatch.detection.event_types import type_test
from oktawatch.detection.evidence import Classification
from oktawatch.detection.rule import LONGEST_TITLE, EventRule
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.match import Match
from oktawatch.model.severity import Severity
from tests.unit.detection.events import event


def fails() -> Any:
    """Raise an exception that the rule's author did not expect."""
    raise KeyError("surprise")


@dataclass(frozen=True, kw_only=True)
class Example(EventRule):
    """A rule whose methods return the values that a test gives."""

    id: ClassVar[str] = "Example.Rule"
    name: ClassVar[str] = "An example"
    description: ClassVar[str] = "An example."
    runbook: ClassVar[str] = "Nothing to do."
    false_positives: ClassVar[str] = "All."
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start", "policy.*")

    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)
    gives: Any = None

    def _given(self, part: str, usual: Any) -> Any:
        return fails() if self.gives is fails else (self.gives or {}).get(part, usual)

    def matches(self, event: Event) -> bool:
        """Match every event except one, for which it raises."""
        return bool(fails()) if event.uuid == "broken" else True

    def severity_of(self, event: Event) -> Severity:
        """Return the test's value."""
        given: Severity = self._given("severity", self.severity)
        return given

    def title(self, event: Event) -> str:
        """Return the test's value."""
        given: str = self._given("title", "a title")
        return given

    def context(self, event: Event) -> dict[str, Any]:
        """Return the test's value."""
        given: dict[str, Any] = self._given("context", {})
        return given

    def dedup(self, event: Event) -> tuple[str | None, ...]:
        """Return the test's value."""
        given: tuple[str | None, ...] = self._given("dedup", ("k",))
        return given

    def classify(self, event: Event) -> Classification:
        """Return the test's value."""
        given: Classification = self._given("classify", super().classify(event))
        return given


def matches_of(gives: Any, *events: Event) -> list[Match]:
    """Evaluate the example rule on a page. ``matches`` must not raise."""
    return list(Example(gives=gives).evaluate(events or [event()], lambda *_: fails()))


def test_an_exception_in_matches_stops_neither_the_page_nor_the_rule() -> None:
    """An exception in `matches` is reported with its event, and the next event is evaluated."""
    errors: list[tuple[str, str, str]] = []
    found = Example().evaluate(
        [event("one"), event("broken"), event("two")],
        lambda rule, uuid, error: errors.append((rule.id, uuid, repr(error))),
    )
    assert [match.event_uuid for match in found] == ["one", "two"]
    assert errors == [("Example.Rule", "broken", "KeyError('surprise')")]


def test_exceptions_in_title_severity_context_or_key_lose_no_match() -> None:
    """A title, severity, context or key that raises is replaced by a default."""
    (match,) = matches_of(fails)
    shown = match.details()
    assert (match.severity, shown.title) == (Severity.LOW, "An example")
    assert shown.context == {"_error": "KeyError: 'surprise'"}
    assert json.loads(match.dedup_key) == ["00u1", "203.0.113.7"]


@pytest.mark.parametrize("gives", [fails, {"classify": None}], ids=["raises", "wrong type"])
def test_a_faulty_classification_is_replaced(gives: Any) -> None:
    """If `classify` raises or returns another type, the configured evidence classifies the address."""
    (match,) = matches_of(gives, event(securityContext={"isProxy": True}))
    assert match.details().anonymizer == "proxy"
    anonymizer = match.origin().anonymizer()
    assert anonymizer is not None
    assert anonymizer.kind is AnonymizerKind.PROXY


@pytest.mark.parametrize(
    "gives",
    [
        {"title": None},
        {"title": 7},
        {"severity": "HIGH"},
        {"severity": 99},
        {"dedup": (7, object())},
        {"dedup": None},
        {"context": {"what": object()}},
        {"context": ["no object"]},
        {"context": None},
    ],
    ids=lambda gives: next(iter(gives)),
)
def test_parts_of_the_wrong_type_never_lose_a_match(gives: dict[str, Any]) -> None:
    """A part of the wrong type is replaced, and the match is kept."""
    (match,) = matches_of(gives)
    shown = match.details()
    assert match.severity is Severity.LOW
    assert shown.title in {"a title", "An example"}
    assert json.loads(match.dedup_key) in (["k"], ["00u1", "203.0.113.7"])
    assert shown.context.keys() <= {"_error", "anonymizer"}


def test_a_context_is_converted_for_the_database() -> None:
    """Values that JSON or a database can't store are converted."""
    (match,) = matches_of(
        {"context": {"a\0": "\0", "n": 10**30, 1: timedelta(hours=1), "s": {"x"}, "f": float("nan")}}
    )
    context = match.details().context
    assert context.pop("anonymizer")["kind"] == "proxy"
    assert context == {
        "a\ufffd": "\ufffd",
        "n": "1" + "0" * 30,
        "1": "PT3600S",
        "s": ["x"],
        "f": None,
    }


def test_a_title_is_one_bounded_printable_line() -> None:
    """Line breaks, escape codes and characters that change the direction of text become spaces."""
    (match,) = matches_of({"title": "a\nb\x1b[31m\u202ec\0" + "x" * 2000})
    title = match.details().title
    assert title.startswith("a b [31m c xxx")
    assert len(title) <= LONGEST_TITLE


def test_long_key_parts_stay_different() -> None:
    """Long parts of a dedup key are shortened, and different parts remain different."""
    (one,) = matches_of({"dedup": ("x" * 2_000_000 + "1",)})
    (other,) = matches_of({"dedup": ("x" * 2_000_000 + "2",)})
    assert one.dedup_key != other.dedup_key
    assert len(one.dedup_key) < 200


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("user.session.start", True),
        ("user.session.start.x", False),
        ("policy.rule.add", True),
        ("policy.", True),
        ("policy", False),
        (None, False),
        (7, False),
        ({}, False),
    ],
)
def test_an_event_type_is_a_name_or_a_prefix(kind: Any, wanted: bool) -> None:
    """An event type with a trailing star is a prefix."""
    assert type_test(Example.event_types)(kind) is wanted
