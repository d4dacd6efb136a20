"""Risk and behaviours are read from each place where Okta writes them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.risk import Assessment, assess
from oktawatch.systemlog.decode import decode

BASE = {"uuid": "e-1", "published": "2026-11-02T12:00:00.000Z", "eventType": "user.session.start"}


def assessed(debug_data: Any = None, security: Any = None) -> Assessment:
    """Assess an event with this securityContext and debugData."""
    parts = {"debugContext": {"debugData": debug_data}, "securityContext": security}
    event = Event.from_body(BASE | parts)
    return assess(event.securityContext, event.debug_data)


def log_only(**parts: Any) -> dict[str, Any]:
    """Return debugData with a logOnlySecurityData."""
    return {"logOnlySecurityData": json.dumps(parts)}


@pytest.mark.parametrize(
    ("debug_data", "security", "level"),
    [
        (log_only(risk={"level": "HIGH", "reasons": "A, B"}), {"risk": {"level": "LOW"}}, "HIGH"),
        (log_only(risk={"level": "low"}) | {"risk": "{level=HIGH}"}, {"risk": {"level": "HIGH"}}, "LOW"),
        (log_only(risk={}), {"risk": {"level": "MEDIUM"}}, "MEDIUM"),
        (log_only(risk={"level": 7}), {"risk": "HIGH"}, "HIGH"),
        (log_only(risk=[]), {"risk": [{}, ["level=LOW"], {"level": "Medium"}]}, "MEDIUM"),
        (log_only(risk=""), {"risk": ""}, None),
        (log_only(risk="level=MEDIUM"), {"risk": {"level": "LOW"}}, "MEDIUM"),
        (log_only(risk={"level": "HI\0GH"}), None, "HI\ufffdGH"),
        ({"logOnlySecurityData": '{"risk":{"level":"HIGH"'}, None, None),
        ({"logOnlySecurityData": "[" * 100_000}, {"risk": {"level": "HIGH"}}, "HIGH"),
        ({"logOnlySecurityData": '["risk"]', "risk": "{level=HIGH}"}, None, "HIGH"),
        ({"logOnlySecurityData": {"risk": {"level": "HIGH"}}}, {"risk": {"level": "LOW"}}, "HIGH"),
        ({"logOnlySecurityData": {}}, {"risk": {"level": "LOW"}}, "LOW"),
        ({"risk": {"reasons": "A, B", "level": "HIGH"}}, None, "HIGH"),
        ({"risk": '{"reasons": "A, B", "level": "HIGH"}'}, None, "HIGH"),
        ({"risk": "HIGH"}, None, "HIGH"),
        ({"risk": "{high}"}, None, "HIGH"),
        ({"risk": "rather much"}, None, None),
        ({"risk": "reasons=Anomalous Location, level=HIGH"}, None, "HIGH"),
        ({"risk": "{level=LOW}"}, {"risk": None}, "LOW"),
        ({"risk": "{reasons=Anomalous Location, Anomalous Device, level=HIGH}"}, {}, "HIGH"),
        ({"risk": "Risk{level=LOW}"}, [], "LOW"),
        ({"risk": "level=HIGH"}, None, "HIGH"),
        ({"risk": "{level=}"}, None, None),
        ({"risk": "{}"}, None, None),
        ({"risk": ["{level=HIGH}"]}, None, "HIGH"),
        ("", "", None),
        (None, None, None),
    ],
)
def test_the_risk_is_the_first_usable_one(debug_data: Any, security: Any, level: str | None) -> None:
    """The first place with a usable risk decides; empty and broken places are skipped."""
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
        (log_only(behaviors={}), LISTED, ["New City"]),
        (log_only(behaviors={"New IP": None}), LISTED, ["New City"]),
        (log_only(behaviors={"New IP": "NEGATIVE"}), LISTED, []),
        (log_only(behaviors="New IP=POSITIVE"), LISTED, ["New IP"]),
        ({"logOnlySecurityData": {"behaviors": {"New IP": "POSITIVE"}}}, LISTED, ["New IP"]),
        (log_only(behaviors=None) | {"behaviors": "{New IP=POSITIVE}"}, LISTED, ["New City"]),
        ({"behaviors": "{New IP=POSITIVE}"}, {"userBehaviors": []}, ["New IP"]),
        ({"behaviors": "{New IP=POSITIVE}"}, {"userBehaviors": [{"name": 7}, None, []]}, ["New IP"]),
        ({"behaviors": "{New IP=POSITIVE}"}, {"userBehaviors": {"New City": "POSITIVE"}}, ["New City"]),
        ({}, {"userBehaviors": {"id": "b1", "name": "New City", "result": "POSITIVE"}}, ["New City"]),
        ({}, {"userBehaviors": "{New City=POSITIVE}"}, ["New City"]),
        ({"behaviors": "{New IP=POSITIVE, New Device=NEGATIVE, A=POSITIVE}"}, {}, ["A", "New IP"]),
        ({"behaviors": "{Velocity: a=b=POSITIVE, =POSITIVE, New IP=positive}"}, None, ["Velocity: a=b"]),
        ({"behaviors": "{New IP=POSITIVE"}, None, ["New IP"]),
        ({"behaviors": "New IP=POSITIVE, New Device=NEGATIVE"}, None, ["New IP"]),
        ({"behaviors": {"New IP": "POSITIVE"}}, None, ["New IP"]),
        ({"behaviors": '{"New IP": "POSITIVE"}'}, None, ["New IP"]),
        (
            {"behaviors": [{"name": "New IP", "result": "POSITIVE"}, "New City=POSITIVE"]},
            None,
            ["New City", "New IP"],
        ),
        ({"behaviors": ["New IP", ["New City=POSITIVE"]]}, None, []),
        ({"behaviors": {f"{n:03}": "POSITIVE" for n in range(1_000)}}, None, [f"{n:03}" for n in range(100)]),
        (None, None, []),
    ],
)
def test_the_behaviours_are_read_from_the_first_place_with_any(
    debug_data: Any, security: Any, observed: list[str]
) -> None:
    """Only POSITIVE behaviours of the first place count, and names may contain a colon or an equals sign."""
    assert list(assessed(debug_data, security).behaviours) == observed


_RISK, _BEHAVIOURS = {"level": "HIGH"}, {"New Device": "POSITIVE", "New IP": "NEGATIVE"}
SHAPES: list[dict[str, Any]] = [
    {"debugContext": {"debugData": {"risk": "level=HIGH", "behaviors": "New Device=POSITIVE"}}},
    {"debugContext": {"debugData": {"risk": _RISK, "behaviors": _BEHAVIOURS}}},
    {"debugContext": {"debugData": {"risk": [_RISK], "behaviors": [_BEHAVIOURS]}}},
    {"debugContext": {"debugData": {"logOnlySecurityData": {"risk": _RISK, "behaviors": _BEHAVIOURS}}}},
    {"securityContext": {"risk": "{level=HIGH}", "userBehaviors": _BEHAVIOURS}},
    {
        "securityContext": {"risk": {}, "userBehaviors": []},
        "debugContext": {"debugData": {"risk": "HIGH", "behaviors": "{New Device=POSITIVE}"}},
    },
]
"""Two statements, wherever collectors may put them."""


@given(st.text(), st.text(alphabet='{}=, POSITIVElevel:"[]'))
def test_no_text_in_debug_data_raises(one: str, other: str) -> None:
    """Any texts in debugData are assessed without an exception."""
    assessed({"risk": one, "behaviors": other, "logOnlySecurityData": other})
    assessed({"risk": other, "behaviors": one, "logOnlySecurityData": one})
    assessed({"risk": [one, {"level": other}], "behaviors": [other, {"name": one, "result": other}]})


@pytest.mark.parametrize("shape", SHAPES)
def test_the_risk_does_not_depend_on_how_the_event_is_decoded(shape: dict[str, Any]) -> None:
    """The assessment is the same whether the event is decoded with its page or built from a dict."""
    body = BASE | {"actor": {"id": "00u1"}} | shape
    (ordinary,) = decode(json.dumps([body]).encode()).events
    for event in (ordinary, Event.from_body(body)):
        row = HistoryRow.of(event)
        assert row.risk == "HIGH"
        assert row.observed() == {"New Device"}
