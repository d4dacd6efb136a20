"""The accessors of an event return the right type or None for any content."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.event import Event, UnusableEventError
from oktawatch.model.privacy import REDACTED

BODY: dict[str, Any] = {
    "uuid": "5f0c1f4e-0000-4000-8000-000000000001",
    "published": "2026-11-24T08:00:00.123Z",
    "eventType": "user.session.start",
    "displayMessage": "User login to Okta",
    "actor": {"id": "00u1", "alternateId": "jane@example.com", "displayName": "Jane Doe"},
    "client": {
        "ipAddress": "203.0.113.7",
        "userAgent": {"rawUserAgent": "Mozilla/5.0"},
        "geographicalContext": {"city": "Lisbon", "country": "Portugal"},
    },
    "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
    "securityContext": {
        "asNumber": 64496,
        "asOrg": "example net",
        "isp": "example isp",
        "domain": "example.net",
        "isProxy": True,
        "ipDetails": {"ipServiceCategories": [{"type": "VPN", "operator": "X"}]},
    },
    "authenticationContext": {"externalSessionId": "s1", "rootSessionId": "r1"},
    "debugContext": {"debugData": {"dtHash": "d1", "risk": "{level=LOW}"}},
}
ACCESSORS = [name for name, value in vars(Event).items() if isinstance(value, property)]
HOSTILE_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=12)
HOSTILE_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | HOSTILE_TEXT
    | st.sampled_from(["unknown", "null", "hunter2", "jane@example.com"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _decoded(body: dict[str, Any]) -> Event:
    """Build an event as a page's decoder does."""
    return Event.from_json(msgspec.json.encode(body))


def _without(*path: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(BODY))
    inner = body
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return body


def _with(value: Any, *path: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(BODY))
    inner = body
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return body


def _shown(event: Event) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(event, name)) for name in ACCESSORS}


def test_every_accessor_returns_the_value_of_the_body() -> None:
    """Accessors return the values of the body, for both ways of creating an event."""
    for event in (_decoded(BODY), Event.from_body(BODY)):
        assert event.published_at == datetime(2026, 11, 24, 8, 0, 0, 123_000, tzinfo=UTC)
        assert event.event_type == "user.session.start"
        assert event.is_proxy is True
        assert event.actor_id == "00u1"
        assert event.actor_alternate_id == "jane@example.com"
        assert event.actor_display_name == "Jane Doe"
        assert event.client_ip == "203.0.113.7"
        assert event.user_agent == "Mozilla/5.0"
        assert (event.country, event.city) == ("Portugal", "Lisbon")
        assert (event.as_number, event.as_org) == (64496, "example net")
        assert (event.isp, event.domain) == ("example isp", "example.net")
        assert (event.outcome_result, event.outcome_reason) == ("FAILURE", "INVALID_CREDENTIALS")
        assert (event.external_session_id, event.root_session_id) == ("s1", "r1")
        assert (event.dt_hash, event.debug_data.risk) == ("d1", "{level=LOW}")
        assert event.body() == BODY


@pytest.mark.parametrize("name", [name for name in BODY if name not in {"uuid", "published"}])
@pytest.mark.parametrize("value", [None, "text", 7, 0.5, True, [], [{}], {}])
def test_any_part_may_have_any_shape(name: str, value: Any) -> None:
    """No accessor raises for any shape of the event."""
    for body in (_with(value, name), _without(name)):
        assert _shown(_decoded(body)) == _shown(Event.from_body(body))


@pytest.mark.parametrize("value", [None, "true", "false", 1, 0, [], {}, "TRUE"])
def test_only_json_true_is_a_proxy(value: Any) -> None:
    """A text or number as `isProxy` counts as missing."""
    assert _decoded(_with(value, "securityContext", "isProxy")).is_proxy is None


def test_json_false_differs_from_a_missing_value() -> None:
    """An event distinguishes Okta's `false` from a missing value."""
    assert _decoded(_with(False, "securityContext", "isProxy")).is_proxy is False


@pytest.mark.parametrize("nothing", ["", "-", "null", "unknown"])
@pytest.mark.parametrize(
    ("path", "accessor"),
    [
        (("actor", "id"), "actor_id"),
        (("client", "ipAddress"), "client_ip"),
        (("authenticationContext", "externalSessionId"), "external_session_id"),
        (("debugContext", "debugData", "dtHash"), "dt_hash"),
        (("securityContext", "domain"), "domain"),
    ],
)
def test_placeholders_count_as_missing(nothing: str, path: tuple[str, ...], accessor: str) -> None:
    """Okta's placeholder texts count as missing."""
    assert getattr(_decoded(_with(nothing, *path)), accessor) is None


def test_a_dot_as_domain_counts_as_missing() -> None:
    """The domain "." counts as missing, and the one in ipDetails is used."""
    assert _decoded(_with({"domain": "."}, "securityContext")).domain is None
    context = {"domain": ".", "isp": ".", "ipDetails": {"domain": "example.org"}}
    event = _decoded(_with(context, "securityContext"))
    assert (event.domain, event.isp) == ("example.org", None)


def test_missing_network_fields_are_read_from_ip_details() -> None:
    """Each field is read from securityContext, or else from its ipDetails."""
    details = {"asNumber": 64500, "asOrg": "other", "isp": "other isp", "domain": "example.org"}
    body = _with(
        {"asOrg": "first", "isp": "unknown", "domain": None, "ipDetails": details}, "securityContext"
    )
    event = _decoded(body)
    assert (event.as_number, event.as_org, event.isp, event.domain) == (
        64500,
        "first",
        "other isp",
        "example.org",
    )


@pytest.mark.parametrize("number", [-1, 2**63, 64496.0, "64496", True, None])
def test_an_as_number_out_of_range_is_none(number: Any) -> None:
    """An AS number that does not fit the database's integer is None."""
    assert _decoded(_with(number, "securityContext", "asNumber")).as_number is None


def test_long_texts_are_shortened() -> None:
    """A user name of a megabyte is shortened, and two different ones stay different."""
    one, other = (_decoded(_with("a" * 10**6 + end, "actor", "alternateId")) for end in "xy")
    assert one.actor_alternate_id is not None
    assert len(one.actor_alternate_id) == 512
    assert one.actor_alternate_id != other.actor_alternate_id
    assert len(_decoded(_with("e" * 10**6, "eventType")).event_type) <= 512


@pytest.mark.parametrize("uuid", [None, "", 7, [], {}, "x" * 256])
def test_an_event_needs_a_usable_uuid(uuid: Any) -> None:
    """An event without a valid uuid is rejected."""
    for make in (_decoded, Event.from_body):
        with pytest.raises(UnusableEventError, match="no usable uuid"):
            make(_with(uuid, "uuid"))


@pytest.mark.parametrize(
    "published", [None, "", 1_764_000_000, "yesterday", [], {}, "2026-11-24T08:00:60.000Z"]
)
def test_an_event_needs_a_usable_published(published: Any) -> None:
    """An event without a valid `published` is rejected."""
    for make in (_decoded, Event.from_body):
        with pytest.raises(UnusableEventError, match="no usable published"):
            make(_with(published, "published"))


@pytest.mark.parametrize("uuid", ["x", "x" * 255, "AbC-123-XyZ", "\u00e9"])
def test_any_short_text_is_accepted_as_a_uuid(uuid: str) -> None:
    """Any short text is accepted as a uuid, because Okta documents no format."""
    assert _decoded(_with(uuid, "uuid")).uuid == uuid


def test_published_is_converted_to_canonical_text() -> None:
    """`published` in any ISO 8601 spelling becomes canonical text."""
    assert (
        _decoded(_with("2026-11-24T10:00:00.1239+02:00", "published")).published == "2026-11-24T08:00:00.123Z"
    )


def test_a_possible_password_is_hidden_in_accessors_and_body() -> None:
    """A possible password is redacted as soon as the event is decoded."""
    body = _with({"id": "unknown", "alternateId": "hunter2", "displayName": "hunter2"}, "actor")
    body["target"] = [{"alternateId": "hunter2"}]
    for event in (_decoded(body), Event.from_body(body)):
        assert event.actor_alternate_id == event.actor_display_name == REDACTED
        assert "hunter2" not in str(_shown(event)) + str(event.body())
        assert event.actor_id is None


def test_a_repr_contains_only_the_uuid() -> None:
    """The repr of an event contains only its uuid."""
    body = _with({"id": "unknown", "alternateId": "hunter2"}, "actor")
    assert repr(_decoded(body)) == f"Event(uuid='{BODY['uuid']}', published='2026-11-24T08:00:00.123Z')"


def test_a_placeholder_as_display_name_is_not_redacted() -> None:
    """A placeholder as display name is not redacted."""
    body = _with({"id": None, "alternateId": "unknown", "displayName": "unknown"}, "actor")
    assert _shown(_decoded(body)) == _shown(Event.from_body(body))


def test_a_field_named_raw_does_not_replace_the_json() -> None:
    """A key named `raw` in an event doesn't replace the event's JSON."""
    event = _decoded(BODY | {"raw": "{}"})
    assert event.body() == BODY | {"raw": "{}"}


def test_nul_is_replaced_in_accessors_and_body() -> None:
    """Accessors and body contain no U+0000, which Postgres refuses."""
    event = _decoded(_with("Ja\x00ne", "actor", "displayName") | {"x": "\x00", "eventType": "a\x00"})
    assert event.actor_display_name == "Ja\ufffdne"
    assert event.event_type == "a\ufffd"
    assert event.body()["x"] == "\ufffd"


def test_a_nul_in_the_uuid_is_replaced() -> None:
    """A NUL in an event's uuid is replaced when the event is decoded."""
    assert _decoded(_with("a\x00b", "uuid")).uuid == "a\ufffdb"


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (b'"\xff"', "\ufffd"),
        (b"1e400", "inf"),
        (b"1" * 5_000, "1" * 5_000),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_a_malformed_skipped_field_is_parsed_leniently(odd: bytes, expected: str) -> None:
    """A malformed field that the decoder skips is parsed leniently by ``body``."""
    raw = msgspec.json.encode(BODY)[:-1] + b',"odd":' + odd + b"}"
    event = msgspec.json.decode(raw, type=Event)
    event.accept(raw)
    assert event.body() == BODY | {"odd": expected}
    msgspec.json.encode(event.body())


def test_only_the_deeply_nested_field_is_dropped() -> None:
    """A field with absurdly deep nesting is dropped, and the event keeps everything else."""
    raw = msgspec.json.encode(BODY)[:-1] + b',"odd":' + b"[" * 700 + b"]" * 700 + b"}"
    event = msgspec.json.decode(raw, type=Event)
    event.accept(raw)
    body = event.body()
    assert body.pop("odd") != []
    assert body == BODY


@given(
    st.dictionaries(st.sampled_from(sorted(BODY)), HOSTILE_VALUE),
    st.dictionaries(HOSTILE_TEXT, HOSTILE_VALUE),
)
def test_every_value_of_an_event_can_be_stored(parts: dict[str, Any], others: dict[str, Any]) -> None:
    """Every encoder and both databases accept the values of accessors and body."""
    body = others | BODY | {name: part for name, part in parts.items() if name not in {"uuid", "published"}}
    event = Event.from_body(body)
    for stored in (event.body(), _shown(event)):
        encoded = msgspec.json.encode(stored)
        assert b"\\u0000" not in encoded
        json.dumps(stored, allow_nan=False, ensure_ascii=False).encode()


@given(HOSTILE_VALUE, HOSTILE_VALUE)
def test_any_uuid_and_published_are_accepted_or_refused(uuid: Any, published: Any) -> None:
    """Any uuid and `published` are accepted, or raise the documented error."""
    try:
        event = Event.from_body(BODY | {"uuid": uuid, "published": published})
    except UnusableEventError:
        return
    assert isinstance(event.uuid, str)
    assert event.published == Event.from_body(event.body()).published
