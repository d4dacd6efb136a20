"""Conversion between Okta's time format and integer milliseconds since 1970."""

import functools
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
DAY = 86_400_000
"""A day in milliseconds."""


def to_ms(moment: datetime) -> int:
    """Return an aware time in milliseconds, truncated."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the UTC time of milliseconds since 1970."""
    return _EPOCH + ms * _MILLISECOND


def to_text(ms: int) -> str:
    """Return `YYYY-MM-DDTHH:mm:ss.SSSZ`, the format of `published`."""
    return f"{_second(ms // 1000)}{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return the text of a time without its milliseconds. Cached, because many events share a second."""
    return from_ms(seconds * 1000).strftime("%Y-%m-%dT%H:%M:%S.")


def read(text: str) -> int:
    """Parse an ISO 8601 time into milliseconds. The default zone is UTC. Raises ValueError or OverflowError."""
    moment = datetime.fromisoformat(text)
    return to_ms(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
