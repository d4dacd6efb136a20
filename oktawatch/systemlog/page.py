"""One page of the System Log, and whether reading has caught up with the org."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self

from msgspec import Struct

from oktawatch.model.event import Event
from oktawatch.model.rejected import RejectedEvent
from oktawatch.model.timestamps import from_text
from oktawatch.systemlog.decode import decode
from oktawatch.systemlog.links import next_query
from oktawatch.systemlog.queries import limit_of

_FRESH = timedelta(seconds=60)


class Page(Struct, frozen=True, kw_only=True):
    """What one request brought."""

    query: str
    """Path and query that was asked."""
    next: str | None
    """Path and query of ``rel="next"`` as Okta wrote it; None when there is none."""
    events: Sequence[Event]
    """In the order Okta sent them, one uuid once."""
    rejected: list[RejectedEvent]
    count: int
    """Elements on the page, usable or not."""
    newest: datetime | None
    """The newest usable ``published``."""
    date: datetime | None
    """The server's own clock (its ``Date`` header)."""
    caught_up: bool
    """Nothing is waiting: reading goes on at the next poll. Otherwise at once."""

    @property
    def resume(self) -> str:
        """Where reading goes on."""
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
        deep: bool = False,
    ) -> Self:
        """Make a page of an answer; raise ValueError saying what makes it none.

        ``url`` is the org's, ``links`` are the values of ``Link``, ``date`` is the ``Date`` header.
        ``deep``: see ``decode``.
        """
        following = next_query(links, url)
        decoded = decode(body, deep=deep)
        newest = max((event.published for event in decoded.events), default=None)
        answered = parse_date(date)
        return cls(
            query=query,
            next=following,
            events=decoded.events,
            rejected=decoded.rejected,
            count=decoded.count,
            newest=None if newest is None else from_text(newest),
            date=answered,
            caught_up=(
                following in {None, query}
                or decoded.count == 0
                or (decoded.count < limit_of(query, following) and _is_fresh(newest, answered))
            ),
        )


def _is_fresh(newest: str | None, answered: datetime | None) -> bool:
    """Tell a page at the stream's tail from a short page in its middle, which Okta serves too."""
    if newest is None or answered is None:
        return False
    return answered - from_text(newest) < _FRESH


def parse_date(header: str | None) -> datetime | None:
    """Read an HTTP date; None when there is none that can be read."""
    try:
        moment = parsedate_to_datetime(header or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
