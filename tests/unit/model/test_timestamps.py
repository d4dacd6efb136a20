"""Points in time are parsed in every format and formatted in one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oktawatch.model.timestamps import are_canonical, canonical, from_text, parse_when, to_text, utc_now

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC))


def test_canonical_text_has_milliseconds_and_ends_in_z() -> None:
    """Canonical text is Okta's format, truncated to milliseconds."""
    assert to_text(datetime(2026, 11, 24, 8, 0, 0, 999_999, tzinfo=UTC)) == "2026-11-24T08:00:00.999Z"


def test_canonical_text_is_in_utc() -> None:
    """A time in another zone is converted to UTC."""
    assert (
        to_text(datetime(2026, 11, 24, 9, 30, tzinfo=timezone(timedelta(hours=1.5))))
        == "2026-11-24T08:00:00.000Z"
    )


def test_early_years_have_four_digits() -> None:
    """Early years have four digits, so that texts sort by time."""
    assert canonical("0987-01-01") == "0987-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T08:00:00.123Z",
        "2026-11-24T08:00:00.123456Z",
        "2026-11-24T08:00:00.123+00:00",
        "2026-11-24T10:00:00.123+02:00",
        "2026-11-24T08:00:00.123",
        "2026-11-24 08:00:00.123Z",
        "20261124T080000.123Z",
    ],
)
def test_every_spelling_of_a_time_has_one_canonical_text(text: str) -> None:
    """All ISO 8601 spellings of a time have the same canonical text, and a missing zone means UTC."""
    assert canonical(text) == "2026-11-24T08:00:00.123Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "2026-11-24T25:00:00.000Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "\u0662\u0660\u0662\u0666-11-24T08:00:00.000Z",
        "2026-11-24T08:00:00.000Z\n",
        "2026-11-24\ud80008:00:00Z",
    ],
)
def test_an_invalid_time_is_refused(text: str) -> None:
    """Invalid dates in canonical format and times outside of the years 1 to 9999 in UTC are refused."""
    with pytest.raises(ValueError, match=r"."):
        canonical(text)


@given(MOMENTS, MOMENTS)
def test_canonical_texts_sort_like_their_times(one: datetime, other: datetime) -> None:
    """Canonical texts sort like their times, because SQLite compares the texts."""
    assert (to_text(one) < to_text(other)) == (from_text(to_text(one)) < from_text(to_text(other)))


@given(MOMENTS)
def test_parsing_and_formatting_canonical_text_changes_nothing(moment: datetime) -> None:
    """Parsing and formatting keeps everything but fractions of a millisecond."""
    text = to_text(moment)
    assert to_text(from_text(text)) == canonical(text) == text
    assert timedelta() <= moment - from_text(text) < timedelta(milliseconds=1)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_raises_value_error(text: str) -> None:
    """Parsing any text returns a datetime or raises ValueError."""
    try:
        found = canonical(text)
    except ValueError:
        return
    assert canonical(found) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:00:00+01:00", datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ],
)
def test_a_time_or_an_age_is_parsed(text: str, expected: datetime) -> None:
    """A time or an age is parsed, and an age is subtracted from now."""
    assert parse_when(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "7", "7 days", "-1d"])
def test_an_invalid_time_or_age_is_refused_with_examples(text: str) -> None:
    """The error shows valid examples."""
    with pytest.raises(ValueError, match=r"such as 2026-11-01 .* or an age such as 90m"):
        parse_when(text, now=NOW)


def test_an_age_before_the_first_year_is_refused() -> None:
    """An age before year 1 raises an error with its own message."""
    with pytest.raises(ValueError, match="before the year 1"):
        parse_when("99999999h", now=NOW)


def test_the_current_time_has_a_time_zone() -> None:
    """The current time has a zone, so that it can be compared with other times."""
    assert utc_now().tzinfo is UTC


@given(
    st.lists(st.sampled_from(["2026-11-24T08:00:00.123Z", "0001-01-01T00:00:00.000Z"]) | st.text(max_size=30))
)
@example(["2026-02-30T08:00:00.123Z"])
@example(["2026-11-24T08:00:00.123Z\n2026-11-24T08:00:00.123Z"])
@example(["2026-11-24T08:00:00.123Z\n"])
@example(["\uff12026-11-24T08:00:00.123Z"])
def test_are_canonical_agrees_with_checking_each_text(texts: list[str]) -> None:
    """`are_canonical` agrees with checking each text."""
    assert are_canonical(texts) == all(_is_canonical(text) for text in texts)


def _is_canonical(text: str) -> bool:
    try:
        return canonical(text) == text
    except ValueError:
        return False
