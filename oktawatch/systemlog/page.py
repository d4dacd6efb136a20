"""A page of the System Log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from msgspec import Struct

from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import from_text, shifted, to_text
from oktawatch.systemlog.decode import decode
from oktawatch.systemlog.http_dates import parse_date
from oktawatch.systemlog.links import next_query
from oktawatch.systemlog.queries import limit_of

_RECENT = timedelta(seconds=60)
"""An event is recent if its time differs from the answer's by at most this."""
_MAX_SIZE_FACTOR = 10
"""The maximum number of elements on a page, as a multiple of its limit."""


class Page(Struct, frozen=True, kw_only=True):
    """The decoded answer to a request."""

    query: str
    """Path and query of the request."""
    next: str | None
    """Path and query of the ``rel="next"`` link, exactly as Okta wrote them. None without a usable link."""
    link_error: str | None = None
    """The reason why the next link is unusable. None if it is usable or absent."""
    linked: bool = True
    """Whether the answer has a ``Link`` header. Okta always sends one: even the last page links to itself."""
    events: Sequence[Event]
    """Usable events in Okta's order, without duplicate uuids."""
    rejected: list[RejectedEvent]
    count: int
    """The number of elements, usable or not."""
    oldest: datetime | None
    """The oldest usable ``published``."""
    newest: datetime | None
    """The newest usable ``published``."""
    date: datetime | None
    """The server's time, from the ``Date`` header."""
    caught_up: bool
    """Whether this page is the current end of the stream. If not, the next page can be requested at once."""

    @property
    def resume(self) -> str:
        """The query that continues the stream after this page."""
        return self.next or self.query

    @classmethod
    def read(
        cls,
        body: bytes,
        *,
        query: str,
        url: str,
        links: Sequence[str],
        date: str | None,
    ) -> Self:
        """Parse an answer. Raises ValueError with the reason if the body is not a page.

        ``url`` is the org's URL, ``links`` are the values of ``Link``, ``date`` is the ``Date`` header.
        """
        following, link_error = _following(links, url)
        limit = limit_of(query, following)
        decoded = decode(body, at_most=_MAX_SIZE_FACTOR * max(limit, 1))
        published = [event.published for event in decoded.events]
        answered = parse_date(date)
        return cls(
            query=query,
            next=following,
            link_error=link_error,
            linked=bool(links),
            events=decoded.events,
            rejected=decoded.rejected,
            count=decoded.count,
            oldest=from_text(min(published)) if published else None,
            newest=from_text(max(published)) if published else None,
            date=answered,
            caught_up=(
                following in {None, query}
                or decoded.count == 0
                or (decoded.count < limit and _has_recent_events(published, answered))
            ),
        )


def _following(links: Sequence[str], url: str) -> tuple[str | None, str | None]:
    """Return the next link, or the reason why it is unusable. An unusable link doesn't prevent using the events."""
    try:
        return next_query(links, url), None
    except ValueError as error:
        return None, str(error)


def _has_recent_events(published: Sequence[str], answered: datetime | None) -> bool:
    """Return whether a page has recent events.

    A short page with recent events is the end of the stream. A short page with old events can be in the middle of it.
    Events dated over a minute in the future don't count, because they can occur anywhere.
    """
    if answered is None:
        return False
    date = to_text(answered)
    earliest, latest = shifted(date, -_RECENT), shifted(date, _RECENT)
    return any(earliest < moment <= latest for moment in published)
