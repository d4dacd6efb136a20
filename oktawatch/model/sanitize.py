"""Sanitize untrusted text and JSON before storing it.

Okta's texts contain arbitrary user input: U+0000, which Postgres refuses, and lone surrogates, which sqlite3 refuses.
A body that only a lenient parser accepts can also contain numbers that JSON encoders can't write.
"""

import hashlib
import re
from typing import Any

from oktawatch.model.lenient_json import DEEPEST

_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NUL = rb"\u0000"
"""The JSON escape of the only character that Postgres refuses."""
_FAR_APART = 4_096
"""If backslashes are more bytes apart than this on average, going from one to the next is faster than searching for `_NUL`."""
# The shape of a JSON text: each digit is 0, each separator a colon, without spaces and signs. Searching the shape for
# unusual numbers is much faster than a regular expression on the text.
_SHAPE = bytes.maketrans(b"123456789E[,", b"000000000e::")
_SPACES_AND_SIGNS = b" \t\n\r-+"
_LONG_NUMBER = b"0" * 17
_EXPONENT = re.compile(rb":[0.]++e0").search
_INT64 = range(-(2**63), 2**64)  # the integers that JSON encoders accept
_LARGE = 1e16  # doubles from here on are whole numbers, and encoders write them with an exponent

LONGEST_TEXT = 512
"""The maximum length in characters of a text that rules read."""


def clean_text(text: str) -> str:
    """Replace U+0000 and lone surrogates with U+FFFD."""
    return _FORBIDDEN.sub(_REPLACEMENT, text)


def needs_cleaning(encoded: bytes) -> bool:
    """Return whether a JSON text contains U+0000. A strict parser refuses the other forbidden characters."""
    # Finding one byte is much faster than finding six, so go from escape to escape as long as there are few.
    at = encoded.find(b"\\")
    for _ in range(len(encoded) // _FAR_APART):
        if at < 0 or encoded.startswith(_NUL, at):
            break
        at = encoded.find(b"\\", at + 1)
    # For six bytes, `rfind` is faster than `find`.
    return at >= 0 and encoded.rfind(_NUL) >= 0


def is_clean(encoded: bytes) -> bool:
    """Return whether a valid JSON text certainly needs no cleaning.

    A quick check, because cleaning is much slower than decoding and rarely needed.
    """
    shape = encoded.translate(_SHAPE, _SPACES_AND_SIGNS)
    suspicious = needs_cleaning(encoded) or _LONG_NUMBER in shape or _EXPONENT(shape)
    return not suspicious and encoded.count(b"{") + encoded.count(b"[") <= DEEPEST


def clean_json(value: Any, levels: int = DEEPEST) -> Any:
    """Return a copy of a JSON value that every encoder and both databases accept.

    Texts and keys are cleaned. A number that is not finite or exceeds 64 bits becomes text. A large float becomes an
    integer, as in Postgres. A list or object nested deeper than ``levels`` becomes None.
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
    return int(number) if abs(number) < 2.0**63 else str(number)  # also for NaN


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        # Python refuses to format very long integers in decimal, because that takes quadratic time.
        return hex(number)


def shorten(text: str, limit: int = LONGEST_TEXT) -> str:
    """Shorten a text to at most ``limit`` characters, so that different texts stay different.

    A longer text is cut, and a hash of the whole is appended. So a user name of a megabyte can neither fill an index nor
    equal the name of another user.
    """
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{text[: limit - len(digest) - 1]}…{digest}"
