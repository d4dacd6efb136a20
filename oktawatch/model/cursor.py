"""Where reading goes on."""

from datetime import datetime

from msgspec import Struct


class Cursor(Struct, frozen=True, kw_only=True):
    """An org's place in Okta's stream: Okta's own link, with the filter and page size it belongs to."""

    filter: str
    """The SCIM filter that the link has frozen into it."""
    query: str
    """Path and query of the next request, as Okta wrote them."""
    page_size: int | None = None
    """The limit that the stream's first request named; Okta's own links may name another one."""
    began_at: datetime
    """From when on events with this filter have been read: where the first stream with it began."""
    restart_at: datetime | None = None
    """Where a new stream has to start to lose nothing, before the overlap: see ``engine.restart_point``."""
    last_published: datetime | None = None
    """The newest event that polling has brought, never later than Okta's own clock said."""
    last_caught_up_at: datetime | None = None
    """When a poll last reached the end of the stream (local clock)."""


class Backfill(Struct, frozen=True, kw_only=True):
    """A bounded read of an org's past, under way or done."""

    id: int
    org: str
    command: str
    """What was typed, so that the same command goes on where it stopped."""
    since: datetime
    until: datetime
    query: str
    """Path and query of the next request."""
    pages: int = 0
    events: int = 0
    new_events: int = 0
    matches: int = 0
    alerts: int = 0
