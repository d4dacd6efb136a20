"""A server that answers Okta's bounded requests with prebuilt pages from memory.

The pages are serialized, and optionally compressed, before the first request, so that the server is never the bottleneck.
For a window (`since`, `until`) and a filter that includes sign-ins, it answers as Okta does: pages ordered by `published`,
a `next` link on all but the last, `Date` and rate limit headers, and Okta's error bodies. A page that is only partly
inside the window is cut when it is requested.

`python -m benchmarks.server` prints a line of JSON, `machine.Ready`, and serves until its standard input closes.
"""

import argparse
import dataclasses
import datetime as dt
import gzip
import http.server
import itertools
import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Self

import orjson

from benchmarks import events, machine

PAGE_SIZE = 1_000
FILTER = 'eventType eq "user.session.start"'
"""The filter that all events match. A filter with more types returns the same events."""
PATH = "/api/v1/logs"
_DAYS_BACK = 14
"""The age of the first event in days. All events are within Okta's retention and in the past."""

_BEGINNING = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A serialized page, with the times of its first and its last event."""

    first: dt.datetime
    last: dt.datetime
    body: bytes

    def within(self, since: dt.datetime, until: dt.datetime) -> bool:
        """Return whether all events are in the window."""
        return since <= self.first and self.last < until

    def overlaps(self, since: dt.datetime, until: dt.datetime) -> bool:
        """Return whether an event can be in the window."""
        return self.first < until and since <= self.last


class RefusedError(Exception):
    """A request that is answered with an Okta error."""

    def __init__(self, status: HTTPStatus, code: str, summary: str) -> None:
        super().__init__(summary)
        self.status = status
        self.body = {
            "errorCode": code,
            "errorSummary": summary,
            "errorLink": code,
            "errorId": "oae",
            "errorCauses": [],
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, and the query of the next page."""

    body: bytes
    next_query: str | None


class Archive:
    """All pages of an org, ordered by `published`. `compressed` is True if their bodies are gzipped."""

    def __init__(self, pages: Sequence[Page], *, compressed: bool) -> None:
        self.pages = pages
        self.compressed = compressed

    @classmethod
    def of(cls, stream: Iterable[events.Json], *, compressed: bool) -> Self:
        """Serialize a stream of events into pages."""
        pages: list[Page] = []
        remaining = iter(stream)
        while chunk := list(itertools.islice(remaining, PAGE_SIZE)):
            body = _encode(chunk, compressed=compressed)
            pages.append(Page(_moment(chunk[0]["published"]), _moment(chunk[-1]["published"]), body))
        return cls(pages, compressed=compressed)

    def answer(self, query: str) -> Answer:
        """Return the page for a query. Raises RefusedError for a query that the pages can't answer."""
        given = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if FILTER not in given.get("filter", "").split(" or ") or given.get("limit") != str(PAGE_SIZE):
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "E0000031", f"These pages are for limit {PAGE_SIZE} and {FILTER}"
            )
        if ("since" in given) == ("after" in given):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "E0000001", "A request needs either since or after")
        since, until, number = self._window(given)
        following = number + 1
        more = following < len(self.pages) and self.pages[following].overlaps(since, until)
        after = {name: value for name, value in given.items() if name != "since"} | {"after": f"{following}"}
        return Answer(self._body(number, since, until), urllib.parse.urlencode(after) if more else None)

    def _window(self, given: dict[str, str]) -> tuple[dt.datetime, dt.datetime, int]:
        """Return the window of a request, and the number of the requested page."""
        try:
            until = _moment(given["until"])
            if "after" in given:
                return _BEGINNING, until, _number(given["after"])
            since = _moment(given["since"])
        except (KeyError, ValueError):
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "E0000001", "The window needs since and until in ISO 8601"
            ) from None
        numbers = (number for number, page in enumerate(self.pages) if page.overlaps(since, until))
        return since, until, next(numbers, len(self.pages))

    def _body(self, number: int, since: dt.datetime, until: dt.datetime) -> bytes:
        """Return the body of a page, cut to the window."""
        if number >= len(self.pages):
            return _encode([], compressed=self.compressed)
        page = self.pages[number]
        if page.within(since, until):
            return page.body
        plain = gzip.decompress(page.body) if self.compressed else page.body
        inside = [event for event in orjson.loads(plain) if since <= _moment(event["published"]) < until]
        return _encode(inside, compressed=self.compressed)


class _Handler(http.server.BaseHTTPRequestHandler):
    """The handler of a connection. `serving` creates a subclass with the archive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: Archive

    def do_GET(self) -> None:
        """Answer a request."""
        path, _, query = self.path.partition("?")
        try:
            answer = self._answer(path, query)
        except RefusedError as refused:
            self._send(refused.status, orjson.dumps(refused.body))
        else:
            self._send(HTTPStatus.OK, answer.body, query=query, answer=answer)

    def _answer(self, path: str, query: str) -> Answer:
        """Return the requested page. Raises RefusedError for another path, or without a token; any token is valid."""
        if path != PATH:
            raise RefusedError(HTTPStatus.NOT_FOUND, "E0000007", f"Not found: {path}")
        if not self.headers.get("Authorization", "").startswith("SSWS "):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "E0000011", "Invalid token provided")
        return self.archive.answer(query)

    def _send(
        self, status: HTTPStatus, body: bytes, *, query: str = "", answer: Answer | None = None
    ) -> None:
        """Write a response. `send_response` adds the `Date` header."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Okta-Request-Id", "prebuilt")
        self.send_header("X-Rate-Limit-Limit", "1000000")
        self.send_header("X-Rate-Limit-Remaining", "999999")
        self.send_header("X-Rate-Limit-Reset", str(int(time.time()) + 60))
        if answer is not None:
            if self.archive.compressed:
                self.send_header("Content-Encoding", "gzip")
            self._link(query, "self")
            if answer.next_query is not None:
                self._link(answer.next_query, "next")
        self.end_headers()
        self.wfile.write(body)

    def _link(self, query: str, relation: str) -> None:
        """Add a `Link` header line. Okta sends a line for each relation."""
        self.send_header("Link", f'<http://{self.headers["Host"]}{PATH}?{query}>; rel="{relation}"')

    def log_message(self, *_: Any, **__: Any) -> None:
        """Log nothing, because logging would be slower than answering."""


def serving(archive: Archive) -> http.server.ThreadingHTTPServer:
    """Return a server of an archive on a free loopback port. The caller runs and closes it."""
    handler = type("Handler", (_Handler,), {"archive": archive})
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def _encode(page: list[events.Json], *, compressed: bool) -> bytes:
    """Serialize a page. The compression is deterministic: gzip's default level, without a timestamp."""
    body = orjson.dumps(page)
    return gzip.compress(body, compresslevel=6, mtime=0) if compressed else body


def _number(after: str) -> int:
    """Parse the cursor of a `next` link."""
    if not after.isdecimal():
        raise RefusedError(HTTPStatus.BAD_REQUEST, "E0000029", "Invalid paging request")
    return int(after)


def _moment(text: str) -> dt.datetime:
    """Parse an ISO 8601 time. The default zone is UTC."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _text(moment: dt.datetime) -> str:
    """Format a time like Okta."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counted(stream: Iterable[events.Json], matches: list[int]) -> Iterator[events.Json]:
    """Yield the events of a stream, and count the matches of the anonymizing-proxy rule."""
    for event in stream:
        matches[0] += event["securityContext"]["isProxy"]
        yield event


def main() -> None:
    """Build the pages, print the parameters, and serve until the standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gzip", action="store_true", help="serve gzipped pages")
    given = parser.parse_args()
    machine.pin(machine.SERVER_CORE)
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - dt.timedelta(days=_DAYS_BACK)
    matches = [0]
    stream = _counted(events.sign_ins(given.events, start=start, seed=given.seed), matches)
    archive = Archive.of(stream, compressed=given.gzip)
    server = serving(archive)
    ready = machine.Ready(
        url=f"http://127.0.0.1:{server.server_port}",
        since=_text(start),
        until=_text(start + events.SPAN),
        events=given.events,
        matches=matches[0],
        page_bytes=sum(len(page.body) for page in archive.pages) // len(archive.pages),
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(dataclasses.asdict(ready)), flush=True)
    sys.stdin.read()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
