r"""Reading JSON that strict parsers refuse.

A page of Okta's is refused whole for one lone surrogate that somebody typed, for bytes that are no
UTF-8, for a number of 5,000 digits or a nesting of a thousand brackets. What such a page holds besides
is wanted all the same, so it is cut into its elements by a scanner that knows no more of JSON than
strings and brackets, and each element is parsed alone with every leniency that Python's parser has.

Nothing here recurses over its input but ``json.loads`` itself. What is nested too deeply for that is
parsed without its depths: a container below ``DEEPEST`` levels is replaced by ``null``, and the rest of
its event stays. (Okta's own events have fewer than ten levels.) The work is linear in the input's length.
"""

import json
import re
from typing import Any

DEEPEST = 100
"""How many levels of nesting are kept."""

_LONGEST_INTEGER = 20  # characters; what is longer than 64 bits is text to every database anyway

# Whatever stands before the next character that matters, strings skipped whole. A string without an end
# matches nothing, and that ends the scan. No part can match in two ways, so that a hostile body costs no
# more than its length.
_SKIPPED = rb'(?:[^"\[\]{}%b]++|"[^"\\]*+(?:\\.[^"\\]*+)*")*'
_to_bracket = re.compile(_SKIPPED % b"" + rb"([\[\]{}])", re.DOTALL).match
_to_comma_or_bracket = re.compile(_SKIPPED % b"," + rb"([\[\]{},])", re.DOTALL).match
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


class TooManyElementsError(ValueError):
    """A list with more elements than it may have."""


def cut_list(raw: bytes, *, at_most: int | None = None) -> list[bytes]:
    """Cut a JSON list into the bytes of its elements; raise ValueError when it is no list.

    Only brackets and strings are checked: whether an element is JSON shows when it is parsed.
    Stops with TooManyElementsError after ``at_most`` elements.
    """
    body = raw.strip(_SPACE)
    if not body.startswith(b"["):
        raise ValueError("no JSON list")
    elements: list[bytes] = []
    start = position = 1
    depth = 1
    while token := (_to_comma_or_bracket if depth == 1 else _to_bracket)(body, position):
        mark, position = token[1], token.end()
        if mark in _OPENING:
            depth += 1
            continue
        if mark in _CLOSING:
            depth -= 1
        if depth == 0 and (mark != b"]" or position != len(body)):
            raise ValueError("the list ends before its end")
        if depth == 0 or mark == b",":
            if len(elements) == at_most:
                raise TooManyElementsError(f"more than {at_most} elements")
            elements.append(body[start : position - 1].strip(_SPACE))
            start = position
        if depth == 0:
            return [] if elements == [b""] else elements
    raise ValueError("the list has no end")


def _prune(raw: bytes) -> bytes:
    """Replace every container nested deeper than ``DEEPEST`` by ``null``."""
    kept: list[bytes] = []
    start = position = depth = 0
    while token := _to_bracket(raw, position):
        position = token.end()
        if token[1] in _OPENING:
            depth += 1
            if depth == DEEPEST + 1:
                kept += (raw[start : position - 1], b"null")
        else:
            depth -= 1
            if depth == DEEPEST:
                start = position
    if depth > DEEPEST:
        raise ValueError("a bracket is never closed")
    kept.append(raw[start:])
    return b"".join(kept)
