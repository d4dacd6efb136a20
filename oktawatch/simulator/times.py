"""Times as Okta spells them, and as whole milliseconds since 1970, in which everything here is ordered."""

import functools
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
DAY = 86_400_000
"""A day in milliseconds."""


def to_ms(moment: datetime) -> int:
    """Return an aware time in milliseconds, cut, not rounded."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the UTC time of a number of milliseconds."""
    return _EPOCH + ms * _MILLISECOND


def to_text(ms: int) -> str:
    """Return `YYYY-MM-DDTHH:mm:ss.SSSZ`, as an event's `published` is written."""
    return f"{_second(ms // 1000)}{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return a time up to its milliseconds; events of one second share it."""
    return from_ms(seconds * 1000).strftime("%Y-%m-%dT%H:%M:%S.")


def read(text: str) -> int:
    """Return the milliseconds of an ISO 8601 time (no zone = UTC). Raises ValueError or OverflowError."""
    moment = datetime.fromisoformat(text)
    return to_ms(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
