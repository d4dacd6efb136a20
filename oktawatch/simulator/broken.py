"""Malformed events that a client must tolerate, each made from a good event.

    org.persist(broken.USABLE["nul"](event))

Events in `USABLE` have a valid uuid and `published`; events in `UNUSABLE` lack one of them. Except for elements without
fields, such as `null_element`, all keep the good event's type, so that a filter on the type matches them.
"""

import json
from collections.abc import Callable
from typing import Any

NESTING = 2000
HUGE = 1_000_000
LONGEST_UUID = 255

Maker = Callable[[dict[str, Any]], bytes]


def _dump(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _with(**fields: Any) -> Maker:
    return lambda event: _dump(event | fields)


def _without(name: str) -> Maker:
    return lambda event: _dump({key: value for key, value in event.items() if key != name})


def _raw(name: str, value: bytes) -> Maker:
    """Set a field to raw bytes that `json.dumps` can't write."""

    def make(event: dict[str, Any]) -> bytes:
        rest = {key: other for key, other in event.items() if key != name}
        return _dump(rest)[:-1] + b',"' + name.encode() + b'":' + value + b"}"

    return make


USABLE: dict[str, Maker] = {
    "text_for_object": _with(actor="somebody", client="somewhere", securityContext="", outcome="SUCCESS"),
    "number_for_object": _with(actor=1, client=2.5, request=True, debugContext=-1),
    "list_for_object": _with(actor=[], client=[[]], securityContext=[{"isProxy": True}]),
    "object_for_text": _with(displayMessage={"a": 1}, severity=["WARN"], version=3),
    "null_everywhere": _with(actor=None, client=None, securityContext=None, outcome=None, target=None),
    "text_for_boolean": _with(securityContext={"isProxy": "true"}),
    "nul": _with(displayMessage="before\0after", actor={"id": "00u\0", "displayName": "\0"}),
    "surrogate": _raw("displayMessage", b'"a lone \\ud800 half"'),
    "control": _with(displayMessage="\x1b[31mred\x07\r\n<!channel>\u202e"),
    "invalid_utf8": _raw("displayMessage", b'"\xff\xfe"'),
    "huge": _with(displayMessage="x" * HUGE),
    "nested": _raw("debugContext", b"[" * NESTING + b"]" * NESTING),
    "big_integer": _raw("version", b"9" * 400),
    "infinite": _raw("version", b"1e400"),
    "not_a_number": _raw("version", b"NaN"),
    "two_keys": _raw("displayMessage", b'"first","displayMessage":"second"'),
}
"""Makers of malformed events with a valid uuid and `published`."""

UNUSABLE: dict[str, Maker] = {
    "no_uuid": _without("uuid"),
    "null_uuid": _with(uuid=None),
    "empty_uuid": _with(uuid=""),
    "number_uuid": _with(uuid=7),
    "long_uuid": _with(uuid="u" * (LONGEST_UUID + 1)),
    "no_published": _without("published"),
    "null_published": _with(published=None),
    "bad_published": _with(published="yesterday"),
    "number_published": _with(published=1_700_000_000),
    "null_element": lambda _: b"null",
    "number_element": lambda _: b"17",
    "text_element": lambda _: b'"event"',
    "list_element": lambda _: b"[]",
    "empty_element": lambda _: b"{}",
}
"""Makers of events without a valid uuid or `published`."""
