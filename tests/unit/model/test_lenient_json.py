"""JSON that strict parsers refuse is decoded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.lenient_json import DEEPEST, cut_list, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb'"\ud800"', "\ud800"),
        (b'"\xff"', "\udcff"),
        (b'"a\x00\n"', "a\x00\n"),
        (b"1e400", float("inf")),
        (b"-Infinity", float("-inf")),
        (b"1" * 5_000, "1" * 5_000),
        (b"-12345678901234567890", "-12345678901234567890"),
        (b"-9223372036854775808", -(2**63)),
    ],
)
def test_values_that_strict_parsers_refuse_are_decoded(raw: bytes, expected: Any) -> None:
    """Values that strict parsers refuse are decoded."""
    assert parse_json(raw) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":1', b"[1 2]", b"tru", b"<html>", b'"\\', b"[" * 5_000])
def test_invalid_json_is_refused(raw: bytes) -> None:
    """Text that is incomplete or not JSON at all raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(raw)


def test_only_the_deeply_nested_part_is_dropped() -> None:
    """Only the part that is nested too deeply is dropped, and the values before and after it stay."""
    deep = b'{"a":' * 9_999 + b"[]" + b"}" * 9_999
    raw = b'{"before":"[[[","deep":[' + deep + b"," + deep + b'],"after":{"b":[1]}}'
    found = parse_json(raw)
    assert found["before"] == "[[["
    assert found["after"] == {"b": [1]}
    assert len(found["deep"]) == 2
    levels, value = 2, found["deep"][1]
    while value is not None:
        levels, value = levels + 1, value["a"]
    assert levels == DEEPEST


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_split_into_its_elements(values: list[Any], indent: int | None, ascii_only: bool) -> None:
    """A JSON list is split into its elements, for any strings and spacing."""
    raw = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert [json.loads(element) for element in cut_list(raw)] == values


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b'["a',
        b'["a\\"]',
        b"[{]",
        b"[}",
        b"[1}]",
        b"[1] [2]",
        b"[1]]",
        b"[1],",
        b'x["a"]',
        b'[{"a":"' + b'\\"' * 100_000 + b"]",
        b"[" * 100_000,
    ],
)
def test_a_truncated_list_is_refused(raw: bytes) -> None:
    """A truncated list raises ValueError instead of being taken for a shorter list."""
    with pytest.raises(ValueError, match="list"):
        cut_list(raw)


def test_an_empty_list_has_no_elements() -> None:
    """A list of spaces is empty, and a comma separates two elements."""
    assert cut_list(b" [ \n] ") == []
    assert cut_list(b"[ , ]") == [b"", b""]


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",\\ a1', max_size=60).map(str.encode))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    """Any bytes are decoded or raise ValueError."""
    for read in (parse_json, cut_list):
        try:
            read(raw)
        except ValueError:
            continue
