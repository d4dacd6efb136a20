"""The positions at which reading continues: of polling, and of a backfill."""

from datetime import datetime

from msgspec import Struct


class Cursor(Struct, frozen=True, kw_only=True):
    """The position of polling in an org's log: Okta's next link, with its filter and page size."""

    filter: str
    """The SCIM filter that is part of the link."""
    query: str
    """Path and query of the next request, exactly as in Okta's link."""
    page_size: int | None = None
    """The limit of the stream's first request. Okta's links can contain another limit."""
    began_at: datetime
    """The time from which events with this filter have been read."""
    restart_at: datetime | None = None
    """A new stream from this time misses no event. See ``engine.restart_point``."""
    last_published: datetime | None = None
    """``published`` of the newest polled event, but never later than Okta's clock."""
    last_caught_up_at: datetime | None = None
    """When a poll last reached the end of the stream, by the database's clock."""


class Backfill(Struct, frozen=True, kw_only=True):
    """A backfill of an org, running or finished."""

    id: int
    org: str
    command: str
    """The command as typed. The same command resumes an interrupted backfill."""
    since: datetime
    until: datetime
    query: str
    """Path and query of the next request."""
    pages: int = 0
    events: int = 0
    new_events: int = 0
    matches: int = 0
    alerts: int = 0
