"""A password typed into the user name's field is hidden; nothing else is."""

from typing import Any

import pytest

from oktawatch.model.privacy import REDACTED, means_nothing, must_hide, redact_body


@pytest.mark.parametrize("value", [None, "", "-", "null", "unknown", 7, True, [], {}])
def test_placeholders_and_other_types_mean_nothing(value: Any) -> None:
    """Okta has four texts for "nothing" beside null."""
    assert means_nothing(value)


@pytest.mark.parametrize("value", ["00u1", "Unknown", " ", "none", "redacted"])
def test_other_texts_mean_something(value: str) -> None:
    """The placeholders are told by their exact spelling."""
    assert not means_nothing(value)


@pytest.mark.parametrize(
    "address",
    ["jane@example.com", "jane.doe+okta@mail.example.org", "j%d@sub-domain.example.com", "J_D-1@a.b.example"],
)
def test_an_email_address_is_shown(address: str) -> None:
    """It was meant to be a user name."""
    assert not must_hide(address)


@pytest.mark.parametrize(
    "typed",
    [
        "hunter2",
        "",
        "unknown",
        "jane",
        "jane@localhost",
        "jane@example.com\n",
        "p@ss word@example.com",
        "@example.com",
        "jane@example.c",
        "jane@example.com2",
        "jane@.com",
        42,
        ["jane@example.com"],
    ],
)
def test_whatever_else_was_typed_may_be_a_password(typed: Any) -> None:
    """Where in doubt, hide."""
    assert must_hide(typed)


def test_nothing_typed_is_nothing_to_hide() -> None:
    """Null stays null."""
    assert not must_hide(None)


def test_a_hostile_user_name_takes_no_time() -> None:
    """The pattern's work grows no faster than the text."""
    assert must_hide("a@" + "a." * 500_000)
    assert must_hide("a" * 1_000_000)


def _failed(typed: Any, actor_id: Any = "unknown", **fields: Any) -> dict[str, Any]:
    return {"eventType": "user.session.start", "actor": {"id": actor_id, "alternateId": typed}, **fields}


@pytest.mark.parametrize("actor_id", ["unknown", None, "", "null", 3])
def test_who_is_unknown_is_hidden(actor_id: Any) -> None:
    """Wherever the id says nothing."""
    assert redact_body(_failed("hunter2", actor_id))["actor"]["alternateId"] == REDACTED


def test_a_known_user_is_shown() -> None:
    """Okta knows the name, so it is none that was mistyped."""
    body = _failed("hunter2", "00u1", target=[{"alternateId": "hunter2"}])
    assert redact_body(body) is body


def test_an_unknown_email_address_is_shown() -> None:
    """Which user somebody tried is what an analyst wants to see."""
    assert redact_body(_failed("jane@example.com"))["actor"]["alternateId"] == "jane@example.com"


def test_its_targets_are_hidden_likewise() -> None:
    """The user that nobody knows is repeated there; an address stays."""
    body = _failed(
        "jane@example.com", target=[{"alternateId": "hunter2"}, {"alternateId": "a@example.com"}, None]
    )
    targets = redact_body(body)["target"]
    assert [target and target["alternateId"] for target in targets] == [REDACTED, "a@example.com", None]


def test_the_same_text_goes_from_names_and_debug_data() -> None:
    """At any depth of those three parts."""
    body = _failed(
        "hunter2", debugContext={"debugData": {"list": ["hunter2", {"user": "hunter2", "x": "y"}]}}
    )
    body["actor"]["displayName"] = "hunter2"
    body["target"] = [{"displayName": "hunter2", "id": "unknown"}]
    redacted = redact_body(body)
    assert "hunter2" not in str(redacted)
    assert redacted["debugContext"]["debugData"]["list"][1]["x"] == "y"
    assert redacted["target"][0]["id"] == "unknown"


def test_nobody_can_blank_what_detections_decide_by() -> None:
    """Who types an event type as a user name hides no event."""
    body = _failed("user.session.start", outcome={"result": "user.session.start"})
    redacted = redact_body(body)
    assert redacted["eventType"] == "user.session.start"
    assert redacted["outcome"] == {"result": "user.session.start"}


def test_a_placeholder_as_user_name_hides_no_other_placeholder() -> None:
    """``unknown`` stands in many fields that nobody typed."""
    body = _failed("unknown", target=[{"displayName": "unknown"}])
    assert redact_body(body)["target"] == [{"displayName": "unknown"}]


@pytest.mark.parametrize("actor", [None, "jane", 3, [{"id": "unknown", "alternateId": "x"}]])
def test_an_actor_of_another_shape_is_left_alone(actor: Any) -> None:
    """No exception, no change."""
    body = {"actor": actor}
    assert redact_body(body) is body


def test_the_body_that_came_is_not_changed() -> None:
    """A new object is given."""
    body = _failed("hunter2", target=[{"alternateId": "hunter2"}])
    redact_body(body)
    assert body == _failed("hunter2", target=[{"alternateId": "hunter2"}])
