"""Strangers' text is made valid for both databases and every encoder."""

import json
import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.lenient_json import DEEPEST
from oktawatch.model.sanitize import clean_json, clean_text, is_clean, needs_cleaning, shorten

HOSTILE_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
HOSTILE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE_TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\x00b", "a\ufffdb"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("line\nbreak\x1b[31m", "line\nbreak\x1b[31m"),
    ],
)
def test_only_characters_that_a_database_refuses_are_replaced(text: str, expected: str) -> None:
    """U+0000 and surrogates are replaced, and control characters are kept."""
    assert clean_text(text) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1e16, 10**16),
        (-1e18, -(10**18)),
        (2.624405991050511e16, 26244059910505112),
        (1e19, "1e+19"),
        (-1e308, "-1e+308"),
    ],
)
def test_a_whole_float_becomes_an_integer(number: float, expected: Any) -> None:
    """A float that is a whole number becomes an integer, which both databases return alike."""
    cleaned = clean_json({"a": [number]})
    assert cleaned == {"a": [expected]}
    assert type(cleaned["a"][0]) is type(expected)
    for encoded in (msgspec.json.encode([number]), msgspec.json.encode({"a": number})):
        assert not is_clean(encoded)


NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**16, 10**17, -(2**63) - 1, 1e16, 1e-7, -1.5e300])
)
VALUES = st.recursive(
    NUMBERS | st.text(max_size=5) | st.sampled_from(["\0", "1e5", "[1e5", "1" * 17]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_cleaning_does_not_change_clean_json(value: Any, indent: int | None, upper: bool) -> None:
    """Cleaning does not change JSON that `is_clean` accepts."""
    encoded = json.dumps({"a": value}, indent=indent)
    encoded = re.sub(r"(?<=[0-9])e(?=[-+0-9])", "E", encoded) if upper else encoded
    if is_clean(encoded.encode()):
        cleaned = clean_json(json.loads(encoded))
        assert repr(cleaned) == repr(json.loads(encoded))


def test_an_ordinary_event_is_clean() -> None:
    """The addresses, times, versions and ids of an ordinary event need no cleaning."""
    assert is_clean(
        b'{"published": "2026-11-24T08:00:00.123Z", "ip": "203.0.113.254", "lat": -52.0908, "agent": "Chrome/141.0.0.0 '
        b'Safari/537.36", "uuid": "3e5a1b7c-0e12-4f3e-8e99-1234567890ab", "asNumber": 64496, "list": [1, -2, 0.5]}'
    )


def test_numbers_that_cannot_be_encoded_become_text() -> None:
    """Numbers that can't be encoded become texts, and booleans stay."""
    assert clean_json([2**64, -(2**63) - 1, math.inf, -math.inf, 2**64 - 1, True, 0.5]) == [
        "18446744073709551616",
        "-9223372036854775809",
        "inf",
        "-inf",
        2**64 - 1,
        True,
        0.5,
    ]
    assert clean_json(math.nan) == "nan"


def test_a_huge_integer_is_written_in_hexadecimal() -> None:
    """Python writes integers of over 4,300 digits in hexadecimal only."""
    assert clean_json(1 << 20_000) == hex(1 << 20_000)


def test_keys_are_cleaned() -> None:
    """The keys of objects are cleaned like their values."""
    assert clean_json({"a\x00": {"\udcff": 1}}) == {"a\ufffd": {"\ufffd": 1}}


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def _levels(value: Any) -> int:
    levels = 0
    while isinstance(value, list):
        levels += 1
        value = value[0] if value else None
    return levels


def test_deep_nesting_is_cut_off() -> None:
    """Deeply nested JSON is cut off with null."""
    assert clean_json(_nested(DEEPEST)) == _nested(DEEPEST)
    assert _levels(clean_json(_nested(5_000))) == DEEPEST
    assert clean_json([{"a": {}}], 2) == [{"a": None}]


@given(HOSTILE_JSON)
def test_cleaned_values_can_be_encoded(value: Any) -> None:
    """Cleaned values can be encoded by every encoder, and cleaning again changes nothing."""
    cleaned = clean_json(value)
    encoded = msgspec.json.encode(cleaned)
    assert b"\\u0000" not in encoded
    json.dumps(cleaned, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert clean_json(cleaned) == cleaned
    assert msgspec.json.decode(encoded) == cleaned


def test_a_short_text_is_unchanged() -> None:
    """A text within the limit is unchanged."""
    assert shorten("x" * 512) == "x" * 512


@given(st.text(alphabet=st.characters(exclude_categories=()), min_size=30, max_size=60), st.integers(18, 30))
def test_a_shortened_text_is_no_longer_than_its_limit(text: str, limit: int) -> None:
    """A shortened text keeps its beginning and is no longer than its limit."""
    shortened = shorten(text, limit)
    assert len(shortened) <= limit
    assert shortened == text or shortened.startswith(text[: limit - 17])


def test_long_texts_with_the_same_beginning_stay_different() -> None:
    """Two long texts with the same beginning stay different when they are shortened."""
    assert shorten("a" * 10_000 + "x") != shorten("a" * 10_000 + "y")


@given(st.lists(st.sampled_from([b"\\", b"u", b"0000", rb"\u0000", rb"\u014c", b"x" * 5_000]), max_size=12))
def test_nul_is_found_in_any_position(parts: list[bytes]) -> None:
    """U+0000 is found in texts with few escapes and with many."""
    encoded = b"".join(parts)
    assert needs_cleaning(encoded) is (rb"\u0000" in encoded)
