"""The time at which polling restarts if its cursor can't be used, so that no event is lost.

Invariant: *every event that was persisted before the restart point has been committed.* A restart requests all events
persisted since shortly before that point, so it returns every event that can still be missing.

Polling returns events in the order of their persistence times, which Okta does not expose. Okta exposes ``published``,
which is seconds to days earlier. But ``published`` can be wrong: an event can be dated 2099. So a single event does not move
the restart point:

- A new stream starts at its ``since``: no earlier event is missing.
- A thousand events in a row move the point to the oldest ``published`` among them. The next event was persisted
  after all of them, so it is missed only if all thousand are dated in the future.
- A page that has caught up moves the point to its own ``Date`` once the next page has caught up as well. If the page
  was empty or short by mistake, or its only event has a wrong date, the next page returns the backlog and has not
  caught up.

The point never moves back, and never beyond a ``Date`` header of Okta. The state of an unfinished block, or of the
first of two pages, is kept only in memory: if it is lost, some events are read twice.
"""

from datetime import datetime

from msgspec import Struct

from oktawatch.systemlog.page import Page

BLOCK = 1000
"""Number of consecutive events that are assumed not to be all dated in the future."""


class RestartPoint(Struct, frozen=True, kw_only=True):
    """The restart point of a stream."""

    at: datetime
    oldest: datetime | None = None
    """The oldest ``published`` of the current block."""
    events: int = 0
    """The number of events of the current block read so far."""
    caught_up_date: datetime | None = None
    """The last page's ``Date`` if that page had caught up."""

    def after(self, page: Page) -> "RestartPoint":
        """Return the restart point after a page is committed."""
        at = self.at
        # A page that links to itself doesn't prove that the stream ends there.
        caught_up = page.caught_up and page.next != page.query
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
