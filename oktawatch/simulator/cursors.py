"""Which cursors the org still honours: those that it has given out, until it forgets them.

Nobody documents how long a cursor of Okta's lives. So a test decides: all that were given out before a time, one
of them, or each that was not given out again within a lifetime. At the tail of a poll the same cursor is given
out with every answer, and each time counts.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from . import query, times
from .query import Query


@dataclass
class Cursors:
    """The cursors that were given out, and which of them are forgotten."""

    lifetime: timedelta | None = None
    """How long after it was last given out a cursor is honoured; None is for ever."""

    _given: dict[Query, int] = field(default_factory=dict)
    _forgotten: set[Query] = field(default_factory=set)

    def give(self, cursor: Query, now: int) -> None:
        """Note that a cursor is given out at a time in milliseconds."""
        self._given[cursor] = now
        self._forgotten.discard(cursor)

    def honours(self, cursor: Query, now: int) -> bool:
        """Tell whether a cursor is still good at a time in milliseconds."""
        if cursor in self._forgotten:
            return False
        if self.lifetime is None:
            return True
        return now - self._given.get(cursor, now) <= self.lifetime // timedelta(milliseconds=1)

    def forget(self, *, before: datetime | None = None) -> None:
        """Refuse from now on every cursor given out so far, or those last given out before a time."""
        bound = None if before is None else times.to_ms(before)
        self._forgotten |= {
            cursor for cursor, given in list(self._given.items()) if bound is None or given < bound
        }

    def forget_link(self, link: str) -> None:
        """Refuse from now on the cursor of one next link: a URL, or its path and query."""
        self._forgotten.add(query.read({"after": parse_qs(urlsplit(link).query)["after"][0]}, 0))
