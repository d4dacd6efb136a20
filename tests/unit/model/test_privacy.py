"""A password typed as user name is redacted, and nothing else is."""

import json
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.privacy import REDACTED, is_placeholder, may_be_password, redact_body
from oktawatch.systemlog.decode import decode

ACCESSORS = [
    name for name, value in vars(Event).items() if isinstance(value, property) and not name.startswith("_")
]


@pytest.mark.parametrize("value", [None, "", "-", "null", "unknown", 7, True, [], {}])
def test_placeholders_and_other_types_count_as_missing(value: Any) -> None:
    """Okta's four placeholders, null and other types count as missing."""
    assert is_placeholder(value)


@pytest.mark.parametrize("value", ["00u1", "Unknown", " ", "none", "redacted"])
def test_other_texts_are_not_placeholders(value: str) -> None:
    """Only the exact spelling of a placeholder counts as one."""
    assert not is_placeholder(value)


@pytest.mark.parametrize(
    "address",
    ["jane@example.com", "jane.doe+okta@mail.example.org", "j%d@sub-domain.example.com", "J_D-1@a.b.example"],
)
def test_an_email_address_of_an_unknown_user_is_shown(address: str) -> None:
    """An email address of an unknown user is shown."""
    assert not may_be_password(address)


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
def test_any_other_user_name_of_an_unknown_user_is_redacted(typed: Any) -> None:
    """Any other user name of an unknown user is redacted."""
    assert may_be_password(typed)


def test_null_is_not_redacted() -> None:
    """Null stays null."""
    assert not may_be_password(None)


def test_matching_a_hostile_user_name_takes_linear_time() -> None:
    """Matching a hostile user name takes time linear in its length."""
    assert may_be_password("a@" + "a." * 500_000)
    assert may_be_password("a" * 1_000_000)


def _failed(typed: Any, actor_id: Any = "unknown", **fields: Any) -> dict[str, Any]:
    return {"eventType": "user.session.start", "actor": {"id": actor_id, "alternateId": typed}, **fields}


@pytest.mark.parametrize("actor_id", ["unknown", None, "", "null", 3])
def test_the_login_of_an_unknown_user_is_redacted(actor_id: Any) -> None:
    """The login of an unknown user is redacted."""
    assert redact_body(_failed("hunter2", actor_id))["actor"]["alternateId"] == REDACTED


def test_the_login_of_a_known_user_is_shown() -> None:
    """The login of a known user is shown."""
    body = _failed("hunter2", "00u1", target=[{"alternateId": "hunter2"}])
    assert redact_body(body) is body


def test_an_unknown_email_address_is_shown() -> None:
    """An e-mail address of an unknown user is not redacted."""
    assert redact_body(_failed("jane@example.com"))["actor"]["alternateId"] == "jane@example.com"


def test_the_login_of_an_unknown_user_is_redacted_in_targets() -> None:
    """The login of an unknown user is redacted in targets as well, but an address is shown."""
    body = _failed(
        "jane@example.com", target=[{"alternateId": "hunter2"}, {"alternateId": "a@example.com"}, None]
    )
    targets = redact_body(body)["target"]
    assert [target and target["alternateId"] for target in targets] == [REDACTED, "a@example.com", None]


def test_the_typed_text_is_redacted_in_other_fields() -> None:
    """The typed text is redacted in the event's other fields, at any depth."""
    body = _failed(
        "hunter2", debugContext={"debugData": {"list": ["hunter2", {"user": "hunter2", "x": "y"}]}}
    )
    body["actor"]["displayName"] = "hunter2"
    body["target"] = [{"displayName": "hunter2", "id": "unknown"}]
    redacted = redact_body(body)
    assert "hunter2" not in str(redacted)
    assert redacted["debugContext"]["debugData"]["list"][1]["x"] == "y"
    assert redacted["target"][0]["id"] == "unknown"


def test_a_user_name_does_not_blank_the_event_type() -> None:
    """A user name that equals an event type does not blank the event type."""
    body = _failed("user.session.start", outcome={"result": "user.session.start"})
    redacted = redact_body(body)
    assert redacted["eventType"] == "user.session.start"
    assert redacted["outcome"] == {"result": "user.session.start"}


def test_a_placeholder_as_user_name_redacts_no_other_placeholder() -> None:
    """A placeholder as user name does not redact other placeholders."""
    body = _failed("unknown", target=[{"displayName": "unknown"}])
    assert redact_body(body)["target"] == [{"displayName": "unknown"}]


@pytest.mark.parametrize("actor", [None, "jane", 3, [{"id": "unknown", "alternateId": "x"}]])
def test_an_actor_of_another_shape_is_unchanged(actor: Any) -> None:
    """An actor of another shape is unchanged."""
    body = {"actor": actor}
    assert redact_body(body) is body


def test_the_original_body_is_unchanged() -> None:
    """Redaction returns a new object and leaves the original unchanged."""
    body = _failed("hunter2", target=[{"alternateId": "hunter2"}])
    redact_body(body)
    assert body == _failed("hunter2", target=[{"alternateId": "hunter2"}])


TYPED = 'p@ss/W\u00f6rd+&"1'
LONGER = f"no user {TYPED} found"
PLACES: list[dict[str, Any]] = [
    {"displayMessage": LONGER},
    {"severity": LONGER},
    {"outcome": {"result": LONGER, "reason": LONGER}},
    {"actor": {"id": "unknown", "alternateId": TYPED, "displayName": LONGER, "detailEntry": {"x": [LONGER]}}},
    {"client": {"ipAddress": LONGER, "zone": LONGER, "userAgent": {"rawUserAgent": LONGER}}},
    {"client": {"geographicalContext": {"country": LONGER, "city": f"x{TYPED}x"}}},
    {"target": [{"id": LONGER, "displayName": LONGER, "alternateId": LONGER}]},
    {"request": {"ipChain": [{"ip": LONGER, "source": TYPED}]}},
    {"authenticationContext": {"externalSessionId": LONGER, "rootSessionId": LONGER}},
    {
        "securityContext": {
            "asOrg": LONGER,
            "isp": TYPED,
            "domain": LONGER,
            "risk": LONGER,
            "userBehaviors": LONGER,
        }
    },
    {
        "debugContext": {
            "debugData": {"errorMessage": LONGER, "dtHash": LONGER, "risk": LONGER, "list": [{"x": LONGER}]}
        }
    },
    {"debugContext": {"debugData": {"errorMessage": f"{TYPED.lower()}:{TYPED}"}}},
    {"debugContext": {"debugData": {"requestUri": f"/login?user={quote(TYPED)}&x={quote_plus(TYPED)}"}}},
    {"debugContext": {"debugData": {"html": f"<b>{escape(TYPED)}</b>", "json": json.dumps({"user": TYPED})}}},
    {"p_enrichment": {"note": LONGER}},
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: str(*place))
def test_a_longer_text_with_the_typed_user_name_is_redacted(place: dict[str, Any]) -> None:
    """A longer text that repeats the typed user name is redacted in accessors, history and context."""
    base = {"uuid": "e-1", "published": "2026-11-02T12:00:00.000Z", "eventType": "user.session.start"}
    body = base | {"actor": {"id": "unknown", "alternateId": TYPED}} | place
    (event,) = decode(json.dumps([body]).encode()).events
    known = {name: getattr(event, name) for name in ACCESSORS}
    left = json.dumps([HistoryRow.of(event).columns, known, event.body()], ensure_ascii=False, default=str)
    for form in (
        TYPED,
        TYPED.lower(),
        quote(TYPED),
        quote_plus(TYPED),
        escape(TYPED),
        json.dumps(TYPED)[1:-1],
    ):
        assert form not in left
        assert form not in left.replace('\\"', '"')
    assert REDACTED in left


@pytest.mark.parametrize(
    ("typed", "text", "redacted"),
    [
        ("abcd", "xabcdx", "xredactedx"),
        ("abc", "xabcx", "xabcx"),
        ("abc", "no user abc found, user=abc", "no user redacted found, user=redacted"),
        ("abc", "user_abc", "user_redacted"),
        ("a", "a user named a", "redacted user named redacted"),
        ("a", "Nora Vale", "Nora Vale"),
        ("!", "what ! ever", "what redacted ever"),
        ("hunter2 ", "no user hunter2 found", "no user redacted found"),
        (" ", "no user found", "no user found"),
        ("unknown", "an unknown user", "an unknown user"),
        ("jane@example.com", "no user jane@example.com", "no user jane@example.com"),
    ],
)
def test_a_short_text_is_redacted_only_as_a_separate_word(typed: str, text: str, redacted: str) -> None:
    """A short text is redacted only as a separate word."""
    assert redact_body(_failed(typed, displayMessage=text))["displayMessage"] == redacted


def test_the_typed_user_name_is_also_read_from_a_target() -> None:
    """The typed user name is also read from a target that is a user."""
    targets = [
        {"type": "User", "alternateId": "hunter2"},
        {"type": "AppInstance", "alternateId": "Example App"},
    ]
    body = _failed("unknown", target=targets, displayMessage="no user hunter2 in Example App")
    assert redact_body(body)["displayMessage"] == "no user redacted in Example App"


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("user.session.start", {"eventType": "user.session.start"}),
        ("INVALID_CREDENTIALS", {"outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"}}),
        ("VERIFICATION", {"outcome": {"result": "FAILURE", "reason": "verification_error"}}),
        ("203.0.113.7", {"client": {"ipAddress": "203.0.113.7"}}),
        ("d1234", {"debugContext": {"debugData": {"dtHash": "d1234"}}}),
        ("s1234", {"authenticationContext": {"externalSessionId": "s1234", "rootSessionId": "s1234"}}),
        ("HIGH", {"debugContext": {"debugData": {"risk": "{reasons=A, level=HIGH}"}}}),
        ("POSITIVE", {"debugContext": {"debugData": {"behaviors": "{New Device=POSITIVE}"}}}),
        ("level", {"debugContext": {"debugData": {"logOnlySecurityData": '{"risk":{"level":"HIGH"}}'}}}),
        (
            "HIGH",
            {
                "securityContext": {
                    "risk": {"level": "HIGH"},
                    "userBehaviors": [{"name": "x", "result": "HIGH"}],
                }
            },
        ),
        ("displayMessage", {"displayMessage": "x"}),
    ],
)
def test_a_typed_text_does_not_redact_oktas_own_values(typed: str, fields: dict[str, Any]) -> None:
    """A typed text that equals one of Okta's own values does not redact that value."""
    assert redact_body(_failed(typed, **fields)).items() >= fields.items()


def test_redacting_a_long_hostile_user_name_takes_linear_time() -> None:
    """Redacting a long hostile user name takes time linear in the size of the event."""
    typed = "a" * 500_000
    body = _failed(
        typed, displayMessage=f"<{typed}>", debugContext={"debugData": {"x": ["aaaa" * 10] * 10_000}}
    )
    assert redact_body(body)["displayMessage"] == "<redacted>"


@pytest.mark.parametrize("odd", [{"a": 1}, ["User"], None, 3])
def test_a_targets_type_may_be_any_json_value(odd: Any) -> None:
    """A target's type may be any JSON value."""
    body = _failed("hunter2", target=[{"type": odd, "alternateId": odd}], displayMessage="hunter2")
    assert redact_body(body)["displayMessage"] == REDACTED
