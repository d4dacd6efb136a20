"""Text that strangers typed, made fit for a database.

Okta's text columns hold whatever was typed into a form: U+0000, which Postgres refuses, lone
surrogates, which sqlite3 refuses, and, in a body that only a tolerant parser reads, numbers that no
JSON encoder writes. Everything that is stored goes through here first.
"""

import hashlib
import re
from typing import Any

from oktawatch.model.lenient_json import DEEPEST

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NUL = rb"\u0000"
"""How JSON writes the one character that Postgres refuses."""
_FAR_APART = 4_096
"""Bytes between two escapes from which on it pays to go from one to the next."""
# JSON's shape: every digit a zero, every separator a colon, no spaces and signs. Odd numbers are found in it in a
# tenth of the time that one expression for all of them takes.
_SHAPE = bytes.maketrans(b"123456789E[,", b"000000000e::")
_SPACES_AND_SIGNS = b" \t\n\r-+"
_LONG_NUMBER = b"0" * 17
_EXPONENT = re.compile(rb":[0.]++e0").search
_INT64 = range(-(2**63), 2**64)  # what JSON encoders and SQL integers have in common with 64 bits
_LARGE = 1e16  # from here on a double is a whole number, and encoders write it with an exponent


LONGEST_TEXT = 512
"""Characters of a text that rules see."""


def clean_text(text: str) -> str:
    """Replace U+0000 and lone surrogates by U+FFFD."""
    return _UNFIT.sub(_REPLACEMENT, text)


def needs_cleaning(encoded: bytes) -> bool:
    """Tell whether JSON has the one character in it that text must be rid of; a strict parser refuses others."""
    # One byte is found far quicker than six, so from one escape to the next, as long as they are few.
    at = encoded.find(b"\\")
    for _ in range(len(encoded) // _FAR_APART):
        if at < 0 or encoded.startswith(_NUL, at):
            break
        at = encoded.find(b"\\", at + 1)
    # Six are found quicker from the end than from the beginning.
    return at >= 0 and encoded.rfind(_NUL) >= 0


def is_clean(encoded: bytes) -> bool:
    """Tell whether valid JSON needs no cleaning. Sometimes says no to what needs none.

    Cleaning costs ten times as much as decoding, and hardly anything needs it.
    """
    shape = encoded.translate(_SHAPE, _SPACES_AND_SIGNS)
    odd = needs_cleaning(encoded) or _LONG_NUMBER in shape or _EXPONENT(shape)
    return not odd and encoded.count(b"{") + encoded.count(b"[") <= DEEPEST


def clean_json(value: Any, levels: int = DEEPEST) -> Any:
    """Give a copy of a JSON value that every encoder and both databases accept.

    Text and keys are cleaned; a number that is no finite 64-bit one becomes its text; a large
    float becomes the integer that it is, since Postgres would make one of its digits; a list or object
    nested deeper than ``levels`` becomes None.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(k): clean_json(v, levels - 1) for k, v in value.items()} if levels else None
    if isinstance(value, list):
        return [clean_json(item, levels - 1) for item in value] if levels else None
    if isinstance(value, float):
        return _clean_float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _INT64 else _digits(value)
    return value


def _clean_float(number: float) -> float | int | str:
    if abs(number) < _LARGE:
        return number
    return int(number) if abs(number) < 2.0**63 else str(number)  # also of what is no number


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        # Python refuses to write very long integers in decimal: a guard against quadratic time.
        return hex(number)


def shorten(text: str, limit: int = LONGEST_TEXT) -> str:
    """Bound a text's length without making different texts equal.

    What is longer than ``limit`` characters keeps its beginning and gets a hash of the whole, so that
    a megabyte in a user name can neither fill an index nor pass for another user.
    """
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{text[: limit - len(digest) - 1]}…{digest}"
