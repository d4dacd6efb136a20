"""A heading has the severity, the person, the outcome, the anonymizer and the place."""

from typing import Any

import pytest
from msgspec import structs

from oktawatch.model.notification import NotificationKind
from oktawatch.model.severity import Severity
from tests.support.messages import ALERT, SUCCEEDED, due
from tests.support.outbox import COMPOSER


@pytest.mark.parametrize(("severity", "raised"), [("LOW", True), ("HIGH", False)])
def test_a_heading_mentions_a_raise_without_a_success(severity: str, *, raised: bool) -> None:
    """A success does not raise a severity below MEDIUM, so the heading mentions that another event raised it."""
    message = COMPOSER.compose(
        due(
            kind=NotificationKind.RAISED,
            severity=severity,
            risen=True,
            successes=1,
            succeeded_at=ALERT["last_event_at"],
        )
    )
    assert message.heading.endswith(f", raised to {severity}") is raised


def test_a_raised_severity_is_in_the_heading() -> None:
    """The heading says why the receiver gets the same alert again."""
    message = COMPOSER.compose(due(NotificationKind.RAISED, severity="HIGH"))

    assert message.heading == (
        "[HIGH] nora@example.com tried to sign in through ExampleVPN, Oslo (acme), raised to HIGH"
    )
    assert (message.type, message.severity) == ("alert.raised", Severity.HIGH)


@pytest.mark.parametrize("kind", [NotificationKind.OPENED, NotificationKind.RAISED])
def test_a_success_after_failures_is_in_the_heading(kind: NotificationKind) -> None:
    """The heading mentions a success after failures, whether or not the alert was sent before."""
    message = COMPOSER.compose(structs.replace(due(kind, **SUCCEEDED), failures_before=3))

    assert (
        message.heading == "[HIGH] nora@example.com got in after 3 failures through ExampleVPN, Oslo (acme)"
    )
    assert "Outcome: 3 failures, then a success at 12:05:30 UTC (the first: INVALID_CREDENTIALS)" in (
        message.plain().splitlines()
    )


def test_failures_after_the_success_are_counted_separately() -> None:
    """The heading counts the failures before the success, and the outcome all failures."""
    message = COMPOSER.compose(structs.replace(due(**SUCCEEDED), failures_before=1))

    assert "got in after 1 failure through" in message.heading
    assert "1 failure, then a success at 12:05:30 UTC; in all 1 success and 3 failures" in message.plain()


def test_a_success_before_all_failures_is_not_after_them() -> None:
    """A success that arrives late can precede all failures of a risen alert. The message claims no other order."""
    alert = due(NotificationKind.CLOSED, **SUCCEEDED | {"successes": 2, "event_count": 5})
    message = COMPOSER.compose(structs.replace(alert, failures_before=0))

    assert "nora@example.com signed in through ExampleVPN" in message.heading
    assert "Outcome: 2 successes, 3 failures (the first: INVALID_CREDENTIALS)" in message.plain()


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"successes": 1, "failures": 0}, "nora@example.com signed in through ExampleVPN, Oslo (acme)"),
        ({"city": None}, "nora@example.com tried to sign in through ExampleVPN, Norway (acme)"),
        (
            {"city": None, "country": None, "context": {"event_type": "user.session.start", "security_context": {"isProxy": True}}},
            "nora@example.com tried to sign in through an anonymizing proxy, 203.0.113.7 (acme)",
        ),
        (
            {"context": {"event_type": "user.session.start", "debug_context": {"debugData": {"associatedProxies": ["LUMINATI"]}}}},
            "nora@example.com tried to sign in through Luminati, Oslo (acme)",
        ),
        ({"actor_alternate_id": None}, "Nora Vale tried to sign in through ExampleVPN, Oslo (acme)"),
        ({"rule_id": "Gone.Rule"}, "nora@example.com: Gone.Rule, Oslo (acme)"),
        (
            SUCCEEDED | {"rule_id": "Gone.Rule"},
            "nora@example.com got in after 3 failures: Gone.Rule, Oslo (acme)",
        ),
    ],
)  # fmt: skip
def test_headings_differ_for_different_people_places_and_outcomes(
    changes: dict[str, Any], heading: str
) -> None:
    """Headings differ for different people, places and outcomes."""
    composed = COMPOSER.compose(due(**changes)).heading

    assert composed.partition("] ")[2] == heading


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"successes": 2, "failures": 0, "event_count": 2, "outcome_reason": None}, "2 successes"),
        ({"successes": 1, "failures": 1, "event_count": 3, "outcome_reason": None}, "1 success, 1 failure, 1 other event"),
        ({"successes": 0, "failures": 0, "outcome_result": "CHALLENGE", "outcome_reason": None}, "CHALLENGE"),
    ],
)  # fmt: skip
def test_the_outcome_counts_successes_and_failures(changes: dict[str, Any], text: str) -> None:
    """The outcome counts successes, then failures. Without either, it is Okta's own outcome."""
    assert [line.text for line in COMPOSER.compose(due(**changes)).lines if line.label == "Outcome"] == [text]
