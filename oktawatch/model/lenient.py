r"""Reading JSON that strict parsers refuse.

A page of Okta's is refused whole for one lone surrogate that somebody typed, for bytes that are no
UTF-8, for a number of 5,000 digits or a nesting of a thousand brackets. What such a page holds besides
is wanted all the same, so it is cut into its elements by a scanner that knows no more of JSON than
strings and brackets, and each element is parsed alone with every leniency that Python's parser has.

Nothing here recurses over its input but ``json.loads`` itself, and that sees no more than ``DEEPEST``
levels: a container nested deeper is replaced by ``null`` before it is parsed, and the rest of its event
stays. (Okta's own events have fewer than ten levels.) Everything is linear in the input's length.
"""

import json
import re
from typing import Any

DEEPEST = 100
"""How many levels of nesting are kept."""

_LONGEST_INTEGER = 20  # characters; what is longer than 64 bits is text to every database anyway

# A string, or one character that matters. A quote that opens no whole string matches alone, so that
# the search never starts over inside a string that has no end.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL).finditer
_OPENING = b"[{"
_CLOSING = b"]}"
_SPACE = b" \t\r\n"


def parse_json(raw: bytes) -> Any:
    """Parse one JSON value; raise ValueError when it is none.

    Bytes that are no UTF-8 and lone surrogates come through as surrogates, ``1e400`` and ``NaN`` as
    floats, long integers as text, control characters as they are: ``clean_json`` mends all of it.
    """
    try:
        return _parse(raw)
    except RecursionError:
        return _parse(_prune(raw))


def _parse(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8", "surrogateescape"), strict=False, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def cut_list(raw: bytes) -> list[bytes]:
    """Cut a JSON list into the bytes of its elements; raise ValueError when it is no list.

    Only brackets and strings are checked: whether an element is JSON shows when it is parsed.
    """
    body = raw.strip(_SPACE)
    if not body.startswith(b"["):
        raise ValueError("no JSON list")
    elements: list[bytes] = []
    depth = 0
    start = 1
    for token in _TOKEN(body):
        mark = token[0]
        if len(mark) > 1:
            continue
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
            if depth == 0:
                return _last_element(elements, body, start, token.start())
        elif mark == b",":
            if depth == 1:
                elements.append(body[start : token.start()].strip(_SPACE))
                start = token.end()
        else:
            break  # a string without an end
    raise ValueError("the list has no end")


def _last_element(elements: list[bytes], body: bytes, start: int, end: int) -> list[bytes]:
    if end != len(body) - 1 or not body.endswith(b"]"):
        raise ValueError("something follows the list")
    last = body[start:end].strip(_SPACE)
    if last or elements:
        elements.append(last)
    return elements


def _prune(raw: bytes) -> bytes:
    """Replace every container nested deeper than ``DEEPEST`` by ``null``."""
    kept: list[bytes] = []
    depth = 0
    start = 0
    for token in _TOKEN(raw):
        mark = token[0]
        if mark in _OPENING:
            depth += 1
            if depth == DEEPEST + 1:
                kept += (raw[start : token.start()], b"null")
        elif mark in _CLOSING:
            depth -= 1
            if depth == DEEPEST:
                start = token.end()
    if depth > DEEPEST:
        raise ValueError("a bracket is never closed")
    kept.append(raw[start:])
    return b"".join(kept)
