"""Streams of events for tests of the engine, cut into pages like Okta's."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import to_text
from oktawatch.systemlog.errors import RequestRefusedError, SystemLogError
from oktawatch.systemlog.page import Page
from tests.support.databases import NOW


def body(number: int, *, at: timedelta = timedelta(), **changes: Any) -> dict[str, Any]:
    """Return the body of a proxied sign-in, ``at`` relative to noon."""
    return {
        "uuid": f"00000000-0000-4000-8000-{number:012d}",
        "published": to_text(NOW + at),
        "eventType": "user.session.start",
        "actor": {"id": "00u1", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
        "client": {"ipAddress": "203.0.113.7"},
        "securityContext": {"isProxy": True},
    } | changes


def event(number: int, *, at: timedelta = timedelta(), **changes: Any) -> Event:
    """Return the sign-in as an event."""
    return Event.from_body(body(number, at=at, **changes))


def page(
    events: Sequence[Event] = (),
    *,
    query: str = "/api/v1/logs?after=0",
    following: str | None = None,
    caught_up: bool = False,
    date: datetime | None = NOW,
    rejected: Sequence[RejectedEvent] = (),
    link_error: str | None = None,
) -> Page:
    """Return a page as the System Log's client returns it."""
    return Page(
        query=query,
        next=following,
        link_error=link_error,
        events=list(events),
        rejected=list(rejected),
        count=len(events) + len(rejected),
        oldest=min((one.published_at for one in events), default=None),
        newest=max((one.published_at for one in events), default=None),
        date=date,
        caught_up=caught_up,
    )


class Script:
    """A scripted source of pages: a page or error for each query."""

    def __init__(self, answers: dict[str, Page | SystemLogError], *, first: Page | None = None) -> None:
        """``first`` is the response to a stream's first request, whatever its times."""
        self._answers = answers
        self._first = first
        self.asked: list[str] = []

    async def page(self, query: str) -> Page:
        """Return the page for a query, or raise its error."""
        self.asked.append(query)
        answer = self._answers.get(query, self._first)
        if answer is None:
            raise RequestRefusedError(f"nothing is scripted for {query}")
        if isinstance(answer, SystemLogError):
            raise answer
        return answer


class Endless(Script):
    """A source of pages that serves the same events under a new link each time."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__({})
        self._events = events

    async def page(self, query: str) -> Page:
        """Return a page with a link that was never returned before."""
        self.asked.append(query)
        return page(self._events, query=query, following=f"/api/v1/logs?until=x&after={len(self.asked)}")


def cut(events: Sequence[Event], borders: Sequence[int]) -> list[Page]:
    """Cut a stream into consecutive pages at these indexes. The last page has caught up."""
    edges = [0, *borders, len(events)]
    last = len(edges) - 2
    return [
        page(
            events[edges[number] : edges[number + 1]],
            query=_link(number),
            following=_link(number + 1),
            caught_up=number == last,
        )
        for number in range(last + 1)
    ]


def _link(number: int) -> str:
    return f"/api/v1/logs?after={number}&limit=1000"


# With full hours, few people and few addresses, equal times, grouped matches and edges of windows are frequent.
sign_ins = st.tuples(
    st.integers(0, 30),
    st.sampled_from(["00u1", "00u2", "unknown"]),
    st.sampled_from(["203.0.113.7", "198.51.100.9"]),
    st.sampled_from([True, True, False]),
    st.booleans(),
    st.sampled_from(["SUCCESS", "FAILURE", "CHALLENGE", None]),
)


@st.composite
def streams(draw: st.DrawFn, *, longest: int = 20) -> list[Event]:
    """Draw a stream of sign-ins, some without a proxy and some through Apple's relay."""
    return [
        event(
            number,
            at=timedelta(hours=hour),
            actor={"id": actor, "alternateId": f"{actor}@example.com"},
            outcome={"result": result},
            client={"ipAddress": ip},
            securityContext={
                "isProxy": proxy,
                "ipDetails": {
                    "ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}] if relay else []
                },
            },
        )
        for number, (hour, actor, ip, proxy, relay, result) in enumerate(
            draw(st.lists(sign_ins, max_size=longest))
        )
    ]


@st.composite
def cut_streams(draw: st.DrawFn) -> list[Page]:
    """Draw a stream that is cut into pages, including empty ones."""
    events = draw(streams())
    return cut(events, sorted(draw(st.lists(st.integers(0, len(events)), max_size=5))))
