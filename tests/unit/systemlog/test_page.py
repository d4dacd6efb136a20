"""A page, and whether it is the last one."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.systemlog.http_dates import parse_date
from oktawatch.systemlog.page import Page

URL = "https://acme.okta.com"
QUERY = "/api/v1/logs?after=1&limit=3"
DATE = "Tue, 24 Nov 2026 08:01:00 GMT"
FRESH = "2026-11-24T08:00:00.001Z"
OLD = "2026-11-24T08:00:00.000Z"


def _read(
    published: list[Any],
    *,
    following: str | None = "/api/v1/logs?after=2&limit=3",
    query: str = QUERY,
    **answer: Any,
) -> Page:
    body = json.dumps([{"uuid": f"u{n}", "published": moment} for n, moment in enumerate(published)]).encode()
    links = [] if following is None else [f'<{URL}{following}>; rel="next"']
    return Page.read(**({"body": body, "query": query, "url": URL, "links": links, "date": DATE} | answer))


@pytest.mark.parametrize(
    ("published", "changes", "expected"),
    [
        pytest.param([OLD] * 3, {}, False, id="full page"),
        pytest.param([FRESH] * 3, {}, False, id="full page of fresh events"),
        pytest.param([FRESH], {}, True, id="short page of fresh events"),
        pytest.param([OLD, FRESH, OLD], {"query": "/api/v1/logs?limit=4"}, True, id="the newest counts"),
        pytest.param([OLD], {}, False, id="short page in the middle of the stream"),
        pytest.param([], {}, True, id="empty page"),
        pytest.param([FRESH] * 3, {"following": None}, True, id="no next link"),
        pytest.param([OLD] * 3, {"following": QUERY}, True, id="next is the query itself"),
        pytest.param([None], {}, False, id="short page without a usable published"),
        pytest.param([FRESH], {"date": None}, False, id="short page, no server clock"),
        pytest.param([FRESH], {"date": "today"}, False, id="short page, no readable server clock"),
        pytest.param(["2099-01-01T00:00:00.000Z"], {}, False, id="short page from the future"),
        pytest.param(
            [OLD, "2099-01-01T00:00:00.000Z"], {}, False, id="the future in the middle of the stream"
        ),
        pytest.param([FRESH, "2099-01-01T00:00:00.000Z"], {}, True, id="the future at the end of the stream"),
        pytest.param(
            [OLD], {"date": "Fri, 31 Dec 9999 23:59:59 GMT"}, False, id="a server clock at the end of time"
        ),
        pytest.param([FRESH] * 3, {"query": "/api/v1/logs?after=1"}, False, id="limit from the next link"),
        pytest.param(
            [FRESH] * 3,
            {"query": "/api/v1/logs?after=1", "following": "/api/v1/logs?after=2"},
            True,
            id="default limit",
        ),
    ],
)
def test_only_the_end_of_the_stream_is_caught_up(
    published: list[Any], changes: dict[str, Any], expected: bool
) -> None:
    """A short page in the middle of the stream is distinguished from its end."""
    assert _read(published, **changes).caught_up is expected


def test_a_page_has_its_counts_times_and_next_link() -> None:
    """A page has its counts, times and next link."""
    page = _read([FRESH, None, OLD])
    assert [event.uuid for event in page.events] == ["u0", "u2"]
    assert [rejected.reason for rejected in page.rejected] == ["no usable published"]
    assert page.count == 3
    assert page.newest == datetime(2026, 11, 24, 8, 0, 0, 1_000, tzinfo=UTC)
    assert page.date == datetime(2026, 11, 24, 8, 1, tzinfo=UTC)
    assert (page.query, page.next, page.resume) == (
        QUERY,
        "/api/v1/logs?after=2&limit=3",
        "/api/v1/logs?after=2&limit=3",
    )


def test_reading_continues_with_the_same_request_without_a_next_link() -> None:
    """Without a next link, reading continues with the same request."""
    page = _read([OLD], following=None)
    assert page.next is None
    assert page.resume == QUERY


def test_a_full_page_of_rejected_elements_is_not_the_end() -> None:
    """A full page of unusable elements is not the end of the stream."""
    page = _read([], body=b"[1, 2, 3]")
    assert (page.count, page.caught_up, page.newest) == (3, False, None)


def test_an_answer_that_is_not_a_page_is_refused() -> None:
    """An answer that is not a page raises ValueError instead of returning an empty page."""
    with pytest.raises(ValueError, match=r"."):
        _read([], body=b"<html>")


@pytest.mark.parametrize(
    ("links", "error"),
    [
        (['<https://evil.example.com/api/v1/logs?a>; rel="next"'], "a next link to another host"),
        (["next"], "a malformed Link header"),
    ],
)
def test_a_page_with_an_invalid_next_link_keeps_its_events(links: list[str], error: str) -> None:
    """A page with an invalid next link keeps its events."""
    page = _read([OLD], links=links)
    assert [event.uuid for event in page.events] == ["u0"]
    assert (page.next, page.link_error, page.resume) == (None, error, QUERY)


def test_a_removed_link_header_is_not_the_last_page() -> None:
    """A removed Link header is distinguished from Okta's last page, which links to itself."""
    assert not _read([OLD], following=None).linked
    assert _read([OLD], links=[f'<{URL}{QUERY}>; rel="self"']).linked


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (DATE, datetime(2026, 11, 24, 8, 1, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 09:01:00 +0100", datetime(2026, 11, 24, 8, 1, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 08:01:00 -0000", datetime(2026, 11, 24, 8, 1, tzinfo=UTC)),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("", None),
        (None, None),
        ("99999999999999999999", None),
    ],
)
def test_the_date_is_parsed_in_utc(header: str | None, expected: datetime | None) -> None:
    """The date is in UTC, or None if it can't be parsed."""
    assert parse_date(header) == expected


@given(st.text(max_size=40) | st.text(alphabet="MonTueJan 0123456789:,+-GMT", max_size=40))
def test_any_date_is_parsed_or_none(header: str) -> None:
    """Any text is parsed as a date or gives None."""
    found = parse_date(header)
    assert found is None or found.tzinfo is UTC
