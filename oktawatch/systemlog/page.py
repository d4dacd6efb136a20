"""One page of the System Log, and whether reading has caught up with the org."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self

from msgspec import Struct

from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import from_text, shifted, to_text
from oktawatch.systemlog.decode import decode
from oktawatch.systemlog.links import next_query
from oktawatch.systemlog.queries import limit_of

_FRESH = timedelta(seconds=60)
_FULLEST = 10
"""How many times the limit a page may hold; with more it is no answer to the question."""


class Page(Struct, frozen=True, kw_only=True):
    """What one request brought."""

    query: str
    """Path and query that was asked."""
    next: str | None
    """Path and query of ``rel="next"`` as Okta wrote it; None when there is none, or none to follow."""
    link_error: str | None = None
    """Why the next link can't be followed; None when it can, or when there is none."""
    linked: bool = True
    """The answer has a ``Link`` header. Okta's always have: even the last page links to itself."""
    events: Sequence[Event]
    """In the order Okta sent them, one uuid once."""
    rejected: list[RejectedEvent]
    count: int
    """Elements on the page, usable or not."""
    oldest: datetime | None
    """The oldest usable ``published``."""
    newest: datetime | None
    """The newest usable ``published``."""
    date: datetime | None
    """The server's own clock (its ``Date`` header)."""
    caught_up: bool
    """Nothing is waiting: reading goes on at the next poll. Otherwise at once."""

    @property
    def resume(self) -> str:
        """The query that reading goes on with."""
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
        """Build a page from an answer; raise ValueError with the reason when the body is no page.

        ``url`` is the org's, ``links`` are the values of ``Link``, ``date`` is the ``Date`` header.
        """
        following, link_error = _following(links, url)
        limit = limit_of(query, following)
        decoded = decode(body, at_most=_FULLEST * max(limit, 1))
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
                or (decoded.count < limit and _has_fresh(published, answered))
            ),
        )


def _following(links: Sequence[str], url: str) -> tuple[str | None, str | None]:
    """Return the next link, or why it can't be followed: a bad link doesn't make the events bad."""
    try:
        return next_query(links, url), None
    except ValueError as error:
        return None, str(error)


def _has_fresh(published: Sequence[str], answered: datetime | None) -> bool:
    """Tell a page at the stream's tail from a short page in its middle, which Okta serves too.

    An event from the future is no sign of the tail: it can stand anywhere in the stream.
    """
    if answered is None:
        return False
    date = to_text(answered)
    earliest, latest = shifted(date, -_FRESH), shifted(date, _FRESH)
    return any(earliest < moment <= latest for moment in published)


def parse_date(header: str | None) -> datetime | None:
    """Parse an HTTP date; return None when there is none or it can't be read."""
    try:
        moment = parsedate_to_datetime(header or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
