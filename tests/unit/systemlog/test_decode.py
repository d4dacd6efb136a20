"""Every element of a page becomes an event, is rejected with its content, or is a duplicate."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.event import Event
from oktawatch.model.history import HistoryRow
from oktawatch.model.lenient_json import cut_list, parse_json
from oktawatch.systemlog.decode import Decoded, decode
from tests.support.shared import shared_data

PUBLISHED = "2026-11-24T08:00:00.000Z"


def _event(uuid: str = "u1", **fields: Any) -> dict[str, Any]:
    return {"uuid": uuid, "published": PUBLISHED, "eventType": "user.session.start", **fields}


def _signin(uuid: str = "u1", odd: str = "null") -> bytes:
    """Return the bytes of a proxied sign-in with a value in its debugData."""
    return (
        f'{{"uuid":"{uuid}","published":"{PUBLISHED}","eventType":"user.session.start",'
        f'"debugContext":{{"debugData":{{"odd":{odd},"dtHash":"d"}}}},"securityContext":{{"isProxy":true}}}}'
    ).encode("utf-8", "surrogateescape")


def _page(*elements: bytes) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def _uuids(decoded: Decoded) -> list[str]:
    return [event.uuid for event in decoded.events]


def test_events_keep_oktas_order() -> None:
    """Events keep Okta's order, because grouping depends on the order of arrival."""
    assert _uuids(decode(json.dumps([_event("b"), _event("a"), _event("c")]).encode())) == ["b", "a", "c"]


def test_an_event_keeps_its_own_slice_of_the_page() -> None:
    """The complete object, with unknown properties, is parsed from the event's slice."""
    bodies = [_event("a", brandNew={"x": [1]}), _event("b")]
    assert [event.body() for event in decode(json.dumps(bodies).encode()).events] == bodies


@pytest.mark.parametrize("element", ["1", "null", "true", '"text"', "[]", '[{"uuid":"x"}]', "1.5"])
@pytest.mark.parametrize("companion", ["", r',{"odd":"\ud800"}'])
def test_an_element_that_is_not_an_object_is_rejected(element: str, companion: str) -> None:
    """Both decoders reject an element that is not an object, keep its bytes, and keep the rest of the page."""
    decoded = decode(f"[ {element} ,{json.dumps(_event())}{companion}]".encode())
    assert decoded.rejected[0].reason == "not a JSON object"
    assert decoded.rejected[0].raw == element.encode()
    assert _uuids(decoded) == ["u1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"uuid": None}, "no usable uuid"),
        ({"uuid": ""}, "no usable uuid"),
        ({"uuid": "x" * 256}, "no usable uuid"),
        ({"published": "soon"}, "no usable published"),
        ({"published": 7}, "no usable published"),
    ],
)
@pytest.mark.parametrize("odd", ["", "\ud800"])
def test_an_unusable_event_is_rejected(fields: dict[str, Any], reason: str, odd: str) -> None:
    """Both decoders reject an unusable event with its bytes and the reason."""
    raw = json.dumps(_event() | fields | {"odd": odd}).encode()
    decoded = decode(_page(raw, _signin()))
    assert [(rejected.reason, rejected.raw) for rejected in decoded.rejected] == [(reason, raw)]
    assert _uuids(decoded) == ["u1"]


def test_repeated_uuids_of_a_page_are_dropped() -> None:
    """Further elements with the same uuid are counted and dropped."""
    decoded = decode(json.dumps([_event("a", n=1), _event("b"), _event("a", n=2)]).encode())
    assert _uuids(decoded) == ["a", "b"]
    assert decoded.events[0].body()["n"] == 1
    assert (decoded.count, decoded.rejected) == (3, [])


@pytest.mark.parametrize(
    "odd",
    [
        r'"\ud800"',
        r'"\udfff\u0000"',
        "1e400",
        "NaN",
        "-Infinity",
        "1" * 5_000,
        "123456789012345678901234567890",
        '"\udcff"',
        '"a\x00\x1f"',
        "[" * 600 + "]" * 600,
        '{"a":' * 5_000 + "null" + "}" * 5_000,
        "[" * 200_000 + "]" * 200_000,
        '"' + "[{" * 2_000 + '"',
    ],
    ids=lambda odd: f"{odd[:12]!r}",
)
def test_a_sign_in_with_an_unusual_value_is_still_detected(odd: str) -> None:
    """An odd value hides neither its event nor the others on the page, and all values can be stored."""
    decoded = decode(_page(_signin("before"), _signin("odd", odd), _signin("after")))
    assert _uuids(decoded) == ["before", "odd", "after"]
    assert decoded.rejected == []
    for event in decoded.events:
        assert event.is_proxy is True
        assert event.dt_hash == "d"
        json.dumps(event.body(), allow_nan=False, ensure_ascii=False).encode()
        msgspec.json.encode(event.body())


def test_unusual_values_can_be_combined() -> None:
    """A page with both a huge integer and a lone surrogate is decoded, which no single parser can do."""
    decoded = decode(_page(_signin("a", "1" * 40), _signin("b", r'"\ud800"'), _signin("c", "1e999")))
    odd = [event.body()["debugContext"]["debugData"]["odd"] for event in decoded.events]
    assert odd == ["1" * 40, "\ufffd", "inf"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}",
        b'{"events":[]}',
        b"null",
        b"<html>[]</html>",
        b"[",
        b"[{}",
        b'[{"a":1},',
        b'[{"uuid":"',
        b"[{},]",
        b"[{}]]",
        b"[{}] x",
        b"[{} {}]",
        b"[nope]",
        b"\xff\xfe[]",
        b"[" * 100_000,
        b'[{"a":' + b"[" * 100_000,
    ],
    ids=lambda body: f"{body[:12]!r}",
)
def test_a_body_that_is_not_a_list_is_refused(body: bytes) -> None:
    """A truncated body raises ValueError instead of being taken for a shorter page."""
    with pytest.raises(ValueError, match=r"."):
        decode(body)


def test_an_empty_list_is_an_empty_page() -> None:
    """An empty list is a page without elements and without an error."""
    assert decode(b" [ ] ") == Decoded([], [], 0)


HOSTILE_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=8)
HOSTILE_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**80), 2**80) | st.floats() | HOSTILE_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE_TEXT, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(
    lambda uuid, fields, parts: fields | parts | _event(uuid),
    st.sampled_from(["a", "b", "c", "d"]) | HOSTILE_TEXT,
    st.dictionaries(HOSTILE_TEXT, HOSTILE_VALUE, max_size=3),
    st.dictionaries(
        st.sampled_from(
            ["actor", "client", "outcome", "securityContext", "debugContext", "raw", "p_enrichment"]
        ),
        HOSTILE_VALUE,
    ),
)
HOSTILE_LIST = st.lists(EVENTS | HOSTILE_VALUE, max_size=6)


def _encode(values: list[Any], *, ascii_only: bool) -> bytes:
    """Encode JSON without checks: surrogates as three bytes each, and NaN."""
    return json.dumps(values, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(HOSTILE_LIST, st.booleans())
def test_no_element_is_lost(values: list[Any], ascii_only: bool) -> None:
    """Each element is an event, rejected with its bytes, or a repeated uuid."""
    decoded = decode(_encode(values, ascii_only=ascii_only))
    assert decoded.count == len(values)
    assert len(set(_uuids(decoded))) == len(decoded.events)
    further = decoded.count - len(decoded.events) - len(decoded.rejected)
    objects = sum(isinstance(value, dict) for value in values)
    assert len(decoded.events) + further <= objects
    for rejected in decoded.rejected:
        assert rejected.raw in cut_list(_encode(values, ascii_only=ascii_only))


ACTORS = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["00u1", "unknown", None]) | HOSTILE_VALUE,
        "alternateId": st.sampled_from(["hunter2!", "nora@example.com"]) | HOSTILE_VALUE,
        "displayName": st.sampled_from(["hunter2!", "Nora Vale"]) | HOSTILE_VALUE,
    }
)
ACCESSORS = [name for name, value in vars(Event).items() if isinstance(value, property)]


def _shown(event: Event) -> str:
    return repr([getattr(event, name) for name in ACCESSORS] + [event.body(), HistoryRow.of(event).columns])


@given(st.lists(st.builds(lambda actor, event: event | {"actor": actor}, ACTORS, EVENTS)), st.booleans())
def test_all_decoders_agree(values: list[Any], ascii_only: bool) -> None:
    """An event reads the same, with the same redacted, whether it came with an ordinary page, alone, or as a dict."""
    for event in decode(_encode(values, ascii_only=ascii_only)).events:
        alone = Event.from_json(bytes(event.raw))
        assert _shown(alone) == _shown(event)
        assert _shown(Event.from_body(parse_json(bytes(event.raw)))) == _shown(event)


@given(HOSTILE_LIST, st.booleans())
def test_every_value_of_an_event_can_be_stored(values: list[Any], ascii_only: bool) -> None:
    """Every encoder and both databases accept all values of an event."""
    names = [name for name, value in vars(Event).items() if isinstance(value, property)]
    for event in decode(_encode(values, ascii_only=ascii_only)).events:
        shown = [
            event.uuid,
            event.published,
            event.body(),
            [getattr(event, name) for name in names if name != "debug_data"],
        ]
        assert b"\\u0000" not in msgspec.json.encode(shown[:3])
        json.dumps(shown[:3], ensure_ascii=False, allow_nan=False).encode()
        msgspec.json.encode(shown)


@pytest.mark.parametrize(
    "odd",
    [
        _signin("b", r'"\u0000"'),
        json.dumps(_event("b", actor={"id": 7})).encode(),
        json.dumps(_event("b", actor={"displayName": "x" * 513})).encode(),
        json.dumps(_event("b", securityContext={"isProxy": "true"})).encode(),
        json.dumps(_event("b", target=[7, {"id": "t1"}])).encode(),
        json.dumps(_event("b", debugContext="text")).encode(),
    ],
    ids=["NUL", "type", "length", "proxy", "target", "debugContext"],
)
def test_an_unusual_event_does_not_change_the_others(odd: bytes) -> None:
    """An odd event doesn't change how the page's other events are decoded."""
    ordinary = _event("a", actor={"id": "00u1", "displayName": "Nora"}, outcome={"result": "SUCCESS"})
    first, second = decode(_page(json.dumps(ordinary).encode(), odd)).events
    (alone,) = decode(_page(json.dumps(ordinary).encode())).events
    assert (first.uuid, second.uuid) == ("a", "b")
    assert _shown(first) == _shown(alone)
    assert _shown(second) == _shown(Event.from_body(parse_json(odd)))


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\ a1u', max_size=60).map(str.encode))
def test_any_bytes_are_decoded_or_raise_value_error(body: bytes) -> None:
    """Any bytes are decoded to a page or raise ValueError."""
    try:
        decoded = decode(body)
    except ValueError:
        return
    assert isinstance(json.loads(body.decode("utf-8", "surrogateescape"), strict=False), list)
    assert decoded.count >= len(decoded.events) + len(decoded.rejected)


def test_every_published_example_event_is_decoded() -> None:
    """All published example events are decoded, also Okta's own, which its schema refuses."""
    lines = shared_data("published_okta_events.ndjson").read_bytes().splitlines()
    decoded = decode(_page(*lines))
    assert len(decoded.events) == len(lines) > 50
    assert decoded.rejected == []
    proxied = {
        e["uuid"] for e in map(json.loads, lines) if (e.get("securityContext") or {}).get("isProxy") is True
    }
    assert {event.uuid for event in decoded.events if event.is_proxy} == proxied
    for event, line in zip(decoded.events, lines, strict=True):
        assert event.body().keys() == json.loads(line).keys()
