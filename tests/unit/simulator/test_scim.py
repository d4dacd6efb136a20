"""SCIM filter expressions: valid and refused ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.simulator import scim
from oktawatch.simulator.errors import OktaError

EVENT: dict[str, Any] = {
    "eventType": "user.session.start",
    "actor": {"id": "00u1", "alternateId": "ines@example.com", "detailEntry": None},
    "securityContext": {"isProxy": True, "asNumber": 64501},
    "target": [{"id": "0oa1", "type": "AppInstance"}, {"id": "00u2", "type": "User"}],
    "outcome": {"result": "FAILURE", "reason": 'said "no"'},
}


def holds(text: str, event: dict[str, Any] = EVENT) -> bool:
    """Evaluate an expression on an event."""
    return scim.parse(text).matches(lambda path: scim.values_at(event, path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'eventType eq "user.session.start"',
        'eventType EQ "user.session.start"',
        'eventType ne "user.session.end"',
        'eventType sw "user."',
        'eventType ew ".start"',
        'eventType co "session"',
        "securityContext.isProxy eq true",
        "securityContext.asNumber gt 64500",
        "securityContext.asNumber ge 64501",
        "securityContext.asNumber lt 64502.5",
        "securityContext.asNumber le 64501",
        'actor.id gt "00u0"',
        "actor.id pr",
        "not (actor.detailEntry pr)",
        "not(client pr)",
        "actor.detailEntry eq null",
        'target.id eq "00u2"',
        'target.type eq "User" and target.type eq "AppInstance"',
        'outcome.reason eq "said \\"no\\""',
        'outcome.result eq "SUCCESS" or eventType eq "user.session.start"',
        'outcome.result eq "SUCCESS" and actor.id eq "no" or actor.id eq "00u1"',
        '(eventType eq "a" or eventType eq "user.session.start") and securityContext.isProxy eq true',
        'not (eventType eq "a") and not (eventType eq "b")',
        'client.ipAddress ne "203.0.113.1"',
    ],
)
def test_an_expression_that_holds(text: str) -> None:
    """Every operator, precedence and kind of value that the System Log knows."""
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'eventType eq "user.session"',
        'eventType eq "USER.SESSION.START"',
        "securityContext.isProxy eq false",
        'securityContext.isProxy eq "true"',
        "securityContext.isProxy eq 1",
        'securityContext.asNumber eq "64501"',
        "actor.id gt 1",
        "actor.detailEntry pr",
        "client.ipAddress pr",
        'client.ipAddress eq "203.0.113.1"',
        'eventType.more eq "x"',
        'outcome.result eq "FAILURE" and (actor.id eq "no" or actor.id eq "00u2")',
    ],
)
def test_an_expression_that_does_not_hold(text: str) -> None:
    """Values of different JSON types are not equal, and a missing value equals nothing."""
    assert not holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "eventType",
        "eventType eq",
        "eventType eq user.session.start",
        'eventType is "a"',
        '"a" eq eventType',
        'eventType eq "a" or',
        'eventType eq "a" eventType eq "b"',
        '(eventType eq "a"',
        'eventType eq "a")',
        'not eventType eq "a"',
        'target[type eq "User"].id eq "a"',
        'eventType eq "unfinished',
        'published gt "2026-11-01T00:00:00Z"',
        "securityContext.isProxy gt true",
        "eventType sw 1",
        "eventType eq 1a",
        "(" * 100 + "a pr" + ")" * 100,
        '\\ eq "a"',
    ],
)
def test_an_expression_that_is_refused(text: str) -> None:
    """An expression that Okta does not support causes a 400 E0000031."""
    with pytest.raises(OktaError) as refusal:
        scim.parse(text)
    assert (refusal.value.status, refusal.value.code) == (400, "E0000031")


@given(st.text() | st.text(alphabet='ab. ()"\\eqnorp1t'))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Any text is parsed or refused with this error."""
    try:
        scim.parse(text)
    except OktaError as refusal:
        assert refusal.code == "E0000031"  # noqa: PT017 -- most texts are refused, but some are valid


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.sampled_from("abcd"))
def test_or_is_membership(names: list[str], name: str) -> None:
    """A chain of `or` over one attribute holds exactly for its values."""
    text = " or ".join(f'eventType eq "{wanted}"' for wanted in names)
    assert holds(text, {"eventType": name}) == (name in names)


def test_a_filter_has_the_paths_that_it_reads() -> None:
    """The paths of an expression are known without an event."""
    wanted = scim.parse('eventType eq "a" and not (actor.id pr)')
    assert wanted.paths == {("eventType",), ("actor", "id")}
