"""Timestamps in Okta's format and in the formats that people type.

The program represents a timestamp as an aware ``datetime`` in UTC or as its *canonical text*,
``2026-11-24T08:00:00.000Z``, the format of Okta's ``published``. Its width is fixed, so texts sort by time.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from oktawatch.model.durations import parse_duration

_FORM = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_CANONICAL = re.compile(_FORM, re.ASCII).fullmatch
_ALL_CANONICAL = re.compile(rf"(?:{_FORM}\n)*+", re.ASCII).fullmatch

_MILLISECONDS = len("2026-11-24T08:00:00.000")

FIRST = "0001-01-01T00:00:00.000Z"
LAST = "9999-12-31T23:59:59.999Z"


def utc_now() -> datetime:
    """Return the time by the local clock. Don't compare it with Okta's times: the clocks can differ."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """Return the canonical text of a timestamp, truncated to milliseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def from_text(text: str) -> datetime:
    """Parse an ISO 8601 timestamp, truncated to milliseconds. The default zone is UTC.

    Raises ValueError if it is invalid or outside of the years 1 to 9999 in UTC.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("not ISO 8601")  # Python accepts any character between date and time
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else _to_utc(moment)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def canonical(text: str) -> str:
    """Return the canonical text of an ISO 8601 timestamp. Raises ValueError.

    Okta's timestamps are already canonical, so for them this only validates.
    """
    if _CANONICAL(text):
        datetime.fromisoformat(text)
        return text
    return to_text(from_text(text))


def are_canonical(texts: Sequence[str]) -> bool:
    """Return whether all texts are canonical. Much faster than checking each of them."""
    if not _ALL_CANONICAL("\n".join([*texts, ""])):
        return False
    try:
        for _ in map(datetime.fromisoformat, texts):
            pass
    except ValueError:
        return False
    return True


def shifted(text: str, by: timedelta) -> str:
    """Add a duration to a canonical text. The result is limited to the range of the calendar."""
    try:
        # The result is in UTC, too. Only its suffix differs from canonical text.
        return (datetime.fromisoformat(text) + by).isoformat(timespec="milliseconds")[:_MILLISECONDS] + "Z"
    except OverflowError:
        return LAST if by > timedelta() else FIRST


def parse_when(text: str, *, now: datetime) -> datetime:
    """Parse a timestamp from the command line: ISO 8601, or an age such as ``90m`` or ``7d``.

    Raises ValueError with a description of the expected format.
    """
    try:
        age = parse_duration(text)
    except ValueError:
        pass
    else:
        return _before(now, age)
    try:
        return from_text(text)
    except ValueError:
        raise ValueError(
            "expected a time such as 2026-11-01 or 2026-11-01T08:00:00Z, or an age such as 90m, 24h, 7d, 2w"
        ) from None


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:
        raise ValueError("expected an age that does not reach back before the year 1") from None
