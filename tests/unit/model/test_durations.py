"""Durations are parsed and formatted as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.durations import approximate_text, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", timedelta(seconds=30)),
        (" 5m ", timedelta(minutes=5)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    """A duration is a whole number with one of five units."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "1.5h", "-5m", "5M", "1h30m", "\u0665m", "5y", "1234567890s"]
)
def test_an_invalid_duration_is_refused_with_examples(text: str) -> None:
    """The error shows valid examples."""
    with pytest.raises(ValueError, match="such as 30s, 5m, 6h or 7d"):
        parse_duration(text)


def test_a_duration_beyond_the_calendar_is_refused() -> None:
    """A duration beyond the calendar's range raises ValueError."""
    with pytest.raises(ValueError, match="below a million years"):
        parse_duration("999999999w")


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=6), "6h"),
        (timedelta(weeks=2), "14d"),
        (timedelta(seconds=1, microseconds=999_999), "1s"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(duration: timedelta, expected: str) -> None:
    """A duration is formatted in the largest unit without a remainder, in whole seconds."""
    assert format_duration(duration) == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=397), "6m"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=47, seconds=59), "47h"),
        (timedelta(days=2, hours=23), "2d"),
    ],
)
def test_a_long_duration_is_rounded_for_people(duration: timedelta, expected: str) -> None:
    """A long duration is rounded down to the largest unit of which it has at least two."""
    assert approximate_text(duration) == expected


@given(st.integers(min_value=0, max_value=10**9 - 1))
def test_a_formatted_duration_is_parsed_to_the_same_value(seconds: int) -> None:
    """A formatted duration is parsed to the same value."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration
