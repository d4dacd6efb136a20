"""The benchmark's server of prebuilt pages serves every event."""

import contextlib
import datetime as dt
import email.utils
import gzip
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from benchmarks import events, server

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
COUNT = 2_345
WINDOW = {"since": "2026-11-01T00:00:00.000Z", "until": "2026-11-08T00:00:00.000Z"}


@cache
def sign_ins() -> list[events.Json]:
    """Return the served events."""
    return list(events.sign_ins(COUNT, start=START))


class Client:
    """A plain HTTP client, which shares no code with the measured programs."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, url: str, authorization: str = "SSWS x") -> tuple[http.client.HTTPResponse, Any]:
        """Return a response and its document."""
        parts = urllib.parse.urlsplit(url)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", f"{parts.path}?{parts.query}", headers={"Authorization": authorization})
            response = connection.getresponse()
            body = response.read()
        plain = gzip.decompress(body) if response.headers["Content-Encoding"] == "gzip" else body
        return response, json.loads(plain)

    def pages(self, **window: str) -> list[list[events.Json]]:
        """Return the pages of a window, one after the other along the `next` links."""
        url: str | None = first_request(**window)
        pages = []
        while url is not None:
            response, page = self.get(url)
            assert response.status == 200
            pages.append(page)
            url = next_link(response)
        return pages


def first_request(**query: str) -> str:
    """Return the first request for a window, as oktawatch makes it."""
    return f"{server.PATH}?" + urllib.parse.urlencode({"filter": server.FILTER, "limit": "1000"} | query)


def next_link(response: http.client.HTTPResponse) -> str | None:
    """Return the URL of a response's `next` link."""
    links = [line for line in response.headers.get_all("Link", []) if line.endswith('; rel="next"')]
    return links[0].partition(">")[0].removeprefix("<") if links else None


@pytest.fixture(scope="module", params=["identity", "gzip"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Serve the sign-ins, plain and gzipped."""
    archive = server.Archive.of(sign_ins(), compressed=request.param == "gzip")
    with server.serving(archive) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield Client(serving.server_port)
        serving.shutdown()
        thread.join()


def test_pages_contain_every_event_once_in_order(client: Client) -> None:
    """The window consists of full pages and a last one, with each event once and in order."""
    pages = client.pages(**WINDOW)
    assert [len(page) for page in pages] == [1_000, 1_000, 345]
    assert [event for page in pages for event in page] == sign_ins()


@pytest.mark.parametrize(("begin", "end"), [(0, 1_000), (7, 900), (999, 1_001), (1_500, 2_345), (3, 2_340)])
def test_a_window_is_cut_where_it_ends(client: Client, begin: int, end: int) -> None:
    """`since` is the first moment inside a window and `until` the first one after it, also within a page."""
    until = sign_ins()[end]["published"] if end < COUNT else WINDOW["until"]
    pages = client.pages(since=sign_ins()[begin]["published"], until=until)
    assert [event for page in pages for event in page] == sign_ins()[begin:end]


def test_an_empty_window_is_one_empty_page(client: Client) -> None:
    """A window without events is one empty page without a next link."""
    assert client.pages(since="2026-12-01T00:00:00Z", until="2026-12-02T00:00:00Z") == [[]]


def test_a_response_has_the_headers_that_a_client_uses(client: Client) -> None:
    """A response has the date, the rate limit and both links, which contain the filter and the end of the window."""
    response, _ = client.get(first_request(**WINDOW))
    date = email.utils.parsedate_to_datetime(response.headers["Date"])
    assert int(response.headers["X-Rate-Limit-Reset"]) >= date.timestamp()
    assert int(response.headers["X-Rate-Limit-Remaining"]) > COUNT
    assert len(response.headers.get_all("Link", [])) == 2
    following = urllib.parse.parse_qs(urllib.parse.urlsplit(next_link(response) or "").query)
    assert following == {
        "filter": [server.FILTER],
        "limit": ["1000"],
        "until": [WINDOW["until"]],
        "after": ["1"],
    }


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        (first_request(**WINDOW, after="1"), 400, "E0000001"),
        (first_request(until=WINDOW["until"]), 400, "E0000001"),
        (first_request(since=WINDOW["since"]), 400, "E0000001"),
        (first_request(since="yesterday", until="today"), 400, "E0000001"),
        (first_request(until=WINDOW["until"], after="x"), 400, "E0000029"),
        (first_request(**WINDOW, limit="100"), 400, "E0000031"),
        (first_request(**WINDOW, filter='eventType eq "user.session.end"'), 400, "E0000031"),
        ("/api/v1/users?limit=1000", 404, "E0000007"),
    ],
)
def test_requests_that_the_pages_cannot_answer_are_refused(
    client: Client, url: str, status: int, code: str
) -> None:
    """A request that the prebuilt pages can't answer gets Okta's error and no page."""
    response, document = client.get(url)
    assert (response.status, document["errorCode"]) == (status, code)


@pytest.mark.parametrize("authorization", ["", "Bearer x", "SSWSx"])
def test_a_request_without_a_token_is_refused(client: Client, authorization: str) -> None:
    """Any token is accepted, but it must exist and have Okta's scheme."""
    response, document = client.get(first_request(**WINDOW), authorization)
    assert (response.status, document["errorCode"]) == (401, "E0000011")


def test_the_same_seed_makes_the_same_events() -> None:
    """Events depend only on the number, start and seed, so that two runs measure the same work."""
    assert list(events.sign_ins(COUNT, start=START)) == sign_ins()
    assert list(events.sign_ins(COUNT, start=START, seed=1)) != sign_ins()


def test_the_events_are_as_documented() -> None:
    """Two per cent of the events match, from at most forty people. Uuids are unique, times rise, and events have about 1.4 KB."""
    whole = sign_ins()[: COUNT - COUNT % events.MATCH_EVERY]
    matching = [event for event in whole if event["securityContext"]["isProxy"]]
    published = [event["published"] for event in sign_ins()]
    assert len(matching) * 50 == len(whole)
    assert len({event["actor"]["id"] for event in matching}) <= 40
    assert len({event["uuid"] for event in sign_ins()}) == COUNT
    assert published == sorted(set(published))
    assert WINDOW["since"] <= published[0]
    assert published[-1] < WINDOW["until"]
    size = len(json.dumps(sign_ins(), separators=(",", ":"), ensure_ascii=False).encode()) / COUNT
    assert 1_300 < size < 1_500
