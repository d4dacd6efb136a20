r"""A lenient JSON parser, for pages that a strict parser refuses.

A strict parser refuses a whole page because of a lone surrogate, invalid UTF-8, a number with 5,000 digits or a
thousand nested brackets in a single event. To keep the other events, a scanner that recognizes only strings and
brackets splits the page into its elements. Each element is then parsed with the leniency of Python's parser.

Only ``json.loads`` recurses over the input. If an element is nested too deeply for it, containers deeper than ``DEEPEST``
levels are replaced by ``null``, and the rest of the element is kept. Okta's events have fewer than ten levels. The
work is linear in the length of the input.
"""

import json
import re
from typing import Any

DEEPEST = 100
"""The number of nesting levels to keep."""

_LONGEST_INTEGER = 20  # characters: databases store integers beyond 64 bits as text

# Matches everything up to the next significant character, and skips strings as a whole. An unterminated string
# doesn't match, which ends the scan. No part can match in two ways, so a hostile body can't cause backtracking.
_SKIPPED = rb'(?:[^"\[\]{}%b]++|"[^"\\]*+(?:\\.[^"\\]*+)*")*'
_to_bracket = re.compile(_SKIPPED % b"" + rb"(?:([\[{])|([\]}]))", re.DOTALL).match
_to_comma_or_bracket = re.compile(_SKIPPED % b"," + rb"(?:([\[{])|([\]}])|(,))", re.DOTALL).match
_OPENING, _CLOSING, _COMMA = 1, 2, 3
"""The group that matched. Comparing its number is faster than comparing its bytes."""
_SPACE = b" \t\r\n"


def parse_json(raw: bytes) -> Any:
    """Parse a JSON value. Raises ValueError.

    In the result, invalid UTF-8 is represented by lone surrogates, ``1e400`` and ``NaN`` by floats, and a long integer
    by its digits as text. Control characters are kept. Apply ``clean_json`` to the result before storing it.
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
    """A list with too many elements."""


def cut_list(raw: bytes, *, at_most: int | None = None) -> list[bytes]:
    """Split a JSON list into the bytes of its elements, without validating the elements.

    Raises ValueError if ``raw`` is not a list, and TooManyElementsError after ``at_most`` elements.
    """
    body = raw.strip(_SPACE)
    if not body.startswith(b"["):
        raise ValueError("not a JSON list")
    elements: list[bytes] = []
    start = position = 1
    depth = 1
    while token := (_to_comma_or_bracket if depth == 1 else _to_bracket)(body, position):
        mark, position = token.lastindex, token.end()
        if mark == _OPENING:
            depth += 1
            continue
        if mark == _CLOSING:
            depth -= 1
        if depth == 0 and (token[_CLOSING] != b"]" or position != len(body)):
            raise ValueError("the body doesn't end with the list's closing bracket")
        if depth == 0 or mark == _COMMA:
            if len(elements) == at_most:
                raise TooManyElementsError(f"more than {at_most} elements")
            elements.append(body[start : position - 1].strip(_SPACE))
            start = position
        if depth == 0:
            return [] if elements == [b""] else elements
    raise ValueError("the list is not closed")


def _prune(raw: bytes) -> bytes:
    """Replace each container nested deeper than ``DEEPEST`` with ``null``."""
    kept: list[bytes] = []
    start = position = depth = 0
    while token := _to_bracket(raw, position):
        position = token.end()
        if token.lastindex == _OPENING:
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
