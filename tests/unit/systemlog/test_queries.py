"""The first request of a stream."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.systemlog.queries import bounded_query, limit_of, polling_query

SINCE = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
FILTER = 'eventType eq "user.session.start"'


def test_a_polling_request_has_no_until_and_ascends() -> None:
    """A polling query has no `until` and sorts ascending, which makes the stream endless."""
    assert polling_query(since=SINCE, filter=FILTER, limit=1000) == (
        "/api/v1/logs?since=2026-11-24T08%3A00%3A00.000Z"
        "&filter=eventType%20eq%20%22user.session.start%22&limit=1000&sortOrder=ASCENDING"
    )


def test_a_bounded_request_has_both_bounds() -> None:
    """Both bounds are converted to UTC."""
    until = datetime(2026, 11, 24, 10, 0, tzinfo=timezone(timedelta(hours=1)))
    query = bounded_query(since=SINCE, until=until, filter=FILTER, limit=10)
    assert parse_qs(urlsplit(query).query) == {
        "since": ["2026-11-24T08:00:00.000Z"],
        "until": ["2026-11-24T09:00:00.000Z"],
        "filter": [FILTER],
        "limit": ["10"],
        "sortOrder": ["ASCENDING"],
    }


def test_a_query_without_a_filter_has_no_filter_parameter() -> None:
    """Without a filter, the query has no filter parameter, because Okta refuses an empty one."""
    assert "filter" not in polling_query(since=SINCE, filter="", limit=1000)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_filter_is_encoded_unchanged(text: str) -> None:
    """Any filter is encoded so that it arrives unchanged and alters no other parameter."""
    query = polling_query(since=SINCE, filter=text, limit=1000)
    assert query.isascii()
    assert query.isprintable()
    assert parse_qs(urlsplit(query).query, keep_blank_values=True)["filter"] == [text]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_an_invalid_page_size_is_refused(limit: int) -> None:
    """The error has the valid page sizes."""
    with pytest.raises(ValueError, match="from 1 to 1000"):
        polling_query(since=SINCE, filter="", limit=limit)


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        (("/api/v1/logs?since=x&limit=500",), 500),
        (("/api/v1/logs?after=x", "/api/v1/logs?limit=20&after=y"), 20),
        (("/api/v1/logs?limit=10", "/api/v1/logs?limit=20"), 10),
        (("/api/v1/logs?limit=9999",), 1000),
        (("/api/v1/logs?limit=x", None), 100),
        (("/api/v1/logs?limit=-5",), 100),
        (("/api/v1/logs?limit=" + "9" * 5_000,), 100),
        ((None,), 100),
    ],
)
def test_the_limit_is_parsed_from_a_query(queries: tuple[str | None, ...], expected: int) -> None:
    """The first query with a limit decides, and Okta's default of 100 applies without one."""
    assert limit_of(*queries) == expected
