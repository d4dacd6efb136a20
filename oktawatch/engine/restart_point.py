"""Where polling restarts when its cursor can't be used, so that nothing is lost.

The law: *every event that was persisted before the restart point has been committed.* A restart asks for
everything persisted from a little before that point on, so it brings every event that can still be missing.

Polling brings events in the order of their persistence times, which Okta does not show. What it shows is
``published``, which is earlier than the persistence time, by seconds or by days, except where it is wrong:
an event may be dated 2099. So no single event moves the restart point, and neither does this machine's clock:

- A new stream starts at its ``since``: nothing before it is missing.
- A thousand events in a row move the point to the oldest ``published`` among them. The event after them was
  persisted later than each of them, so it is missed only if all the thousand are dated into the future.
- A page that has caught up moves the point to its own ``Date`` once the next poll has caught up as well.
  A page that is empty or short by mistake, or whose only event is dated wrongly, is contradicted by the next
  one, which brings the backlog.

The point never moves back, and never beyond a ``Date`` of Okta's. What is known of an unfinished block, or of
the first of two pages, is kept in memory alone: losing it costs events that are read twice.
"""

from datetime import datetime

from msgspec import Struct

from oktawatch.systemlog.page import Page

BLOCK = 1000
"""How many events in a row are trusted not to be all dated into the future."""


class RestartPoint(Struct, frozen=True, kw_only=True):
    """How far a stream has been read for certain."""

    at: datetime
    oldest: datetime | None = None
    """The oldest ``published`` of the block that is being read."""
    events: int = 0
    """How many events of that block have been read."""
    caught_up_date: datetime | None = None
    """The last page's ``Date`` if that page had caught up."""

    def after(self, page: Page) -> "RestartPoint":
        """Return where the stream stands once a page is committed."""
        at = self.at
        caught_up = page.caught_up and page.next != page.query  # a link to itself says nothing about the tail
        if caught_up and self.caught_up_date is not None:
            at = max(at, self.caught_up_date)
        dates = [moment for moment in (self.oldest, page.oldest) if moment is not None]
        oldest, events = min(dates, default=None), self.events + len(page.events)
        if events >= BLOCK:
            if oldest is not None and page.date is not None:
                at = max(at, min(oldest, page.date))
            oldest, events = None, 0
        date = page.date if caught_up else None
        return RestartPoint(at=at, oldest=oldest, events=events, caught_up_date=date)
