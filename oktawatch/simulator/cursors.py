"""The cursors that the org has issued, and the ones it no longer accepts.

Okta doesn't document how long a cursor lives, so a test decides: it can forget all cursors issued before a time,
forget one of them, or set a lifetime. At the end of the log every answer issues the same cursor again, which
renews its lifetime.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from . import query, times
from .query import Query


@dataclass
class Cursors:
    """The issued cursors and the forgotten ones."""

    lifetime: timedelta | None = None
    """How long the org accepts a cursor after it was last issued. None: forever."""

    _issued: dict[Query, int] = field(default_factory=dict)
    _forgotten: set[Query] = field(default_factory=set)

    def issue(self, cursor: Query, now: int) -> None:
        """Record that a cursor was issued at `now`, in milliseconds."""
        self._issued[cursor] = now
        self._forgotten.discard(cursor)

    def accepts(self, cursor: Query, now: int) -> bool:
        """Return whether the org accepts a cursor at `now`, in milliseconds."""
        if cursor in self._forgotten:
            return False
        if self.lifetime is None:
            return True
        return now - self._issued.get(cursor, now) <= self.lifetime // timedelta(milliseconds=1)

    def forget(self, *, before: datetime | None = None) -> None:
        """Refuse every cursor issued so far, or only those last issued before a time."""
        bound = None if before is None else times.to_ms(before)
        self._forgotten |= {
            cursor for cursor, issued in list(self._issued.items()) if bound is None or issued < bound
        }

    def forget_link(self, link: str) -> None:
        """Refuse the cursor of a next link, given as a URL or as path and query."""
        self._forgotten.add(query.read({"after": parse_qs(urlsplit(link).query)["after"][0]}, 0))
