"""Parse the dates in HTTP headers."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_date(header: str | None) -> datetime | None:
    """Parse an HTTP date. Returns None if it is absent or invalid."""
    try:
        moment = parsedate_to_datetime(header or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
