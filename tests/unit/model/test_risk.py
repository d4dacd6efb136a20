"""Risk and behaviour, read from whichever of Okta's places says anything."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.event import Event
from oktawatch.model.risk import Assessment, assess

BASE = {"uuid": "e-1", "published": "2026-11-02T12:00:00.000Z", "eventType": "user.session.start"}


def assessed(debug_data: Any = None, security: Any = None) -> Assessment:
    """Assess an event with these two."""
    parts = {"debugContext": {"debugData": debug_data}, "securityContext": security}
    event = Event.from_body(BASE | parts)
    return assess(event.fields.securityContext, event.debug_data)


def log_only(**parts: Any) -> dict[str, Any]:
    """Give debugData with a logOnlySecurityData."""
    return {"logOnlySecurityData": json.dumps(parts)}


@pytest.mark.parametrize(
    ("debug_data", "security", "level"),
    [
        (log_only(risk={"level": "HIGH", "reasons": "A, B"}), {"risk": {"level": "LOW"}}, "HIGH"),
        (log_only(risk={"level": "low"}) | {"risk": "{level=HIGH}"}, {"risk": {"level": "HIGH"}}, "LOW"),
        (log_only(risk={}), {"risk": {"level": "MEDIUM"}}, "MEDIUM"),
        (log_only(risk={"level": 7}), {"risk": "HIGH"}, None),
        ({"logOnlySecurityData": '{"risk":{"level":"HIGH"'}, None, None),
        ({"logOnlySecurityData": "[" * 100_000}, {"risk": {"level": "HIGH"}}, "HIGH"),
        ({"logOnlySecurityData": '["risk"]', "risk": "{level=HIGH}"}, None, "HIGH"),
        ({"logOnlySecurityData": {"risk": {"level": "HIGH"}}}, None, None),
        ({"risk": "{level=LOW}"}, {"risk": None}, "LOW"),
        ({"risk": "{reasons=Anomalous Location, Anomalous Device, level=HIGH}"}, {}, "HIGH"),
        ({"risk": "Risk{level=LOW}"}, [], "LOW"),
        ({"risk": "level=HIGH"}, None, None),
        ({"risk": "{level=}"}, None, None),
        ({"risk": "{}"}, None, None),
        ({"risk": ["{level=HIGH}"]}, None, None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_the_risk_is_the_first_that_says_anything(debug_data: Any, security: Any, level: str | None) -> None:
    """JSON in a text, securityContext, a printed map; broken ones say nothing."""
    assert assessed(debug_data, security).risk == level


LISTED = {
    "userBehaviors": [
        {"id": "b1", "name": "New City", "result": "POSITIVE"},
        {"name": "New IP"},
        None,
        {"name": 7},
    ]
}


@pytest.mark.parametrize(
    ("debug_data", "security", "observed"),
    [
        (
            log_only(behaviors={"New Device": "POSITIVE", "New IP": "NEGATIVE", "x": 1}),
            LISTED,
            ["New Device"],
        ),
        (log_only(behaviors={}), LISTED, []),
        (log_only(behaviors=None) | {"behaviors": "{New IP=POSITIVE}"}, LISTED, ["New City"]),
        ({"behaviors": "{New IP=POSITIVE}"}, {"userBehaviors": []}, []),
        ({"behaviors": "{New IP=POSITIVE, New Device=NEGATIVE, A=POSITIVE}"}, {}, ["A", "New IP"]),
        ({"behaviors": "{Velocity: a=b=POSITIVE, =POSITIVE, New IP=positive}"}, None, ["Velocity: a=b"]),
        ({"behaviors": "{New IP=POSITIVE"}, None, []),
        ({"behaviors": {"New IP": "POSITIVE"}}, None, []),
        (None, None, []),
    ],
)
def test_the_behaviours_are_those_of_the_first_place_that_lists_any(
    debug_data: Any, security: Any, observed: list[str]
) -> None:
    """Only POSITIVE ones, exactly so spelled; names can hold a colon and an equals sign."""
    assert list(assessed(debug_data, security).behaviours) == observed


@given(st.text(), st.text(alphabet='{}=, POSITIVElevel:"[]'))
def test_no_text_makes_it_raise(one: str, other: str) -> None:
    """Everything in debugData may be anything."""
    assessed({"risk": one, "behaviors": other, "logOnlySecurityData": other})
    assessed({"risk": other, "behaviors": one, "logOnlySecurityData": one})
