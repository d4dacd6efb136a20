"""Points in time as Okta writes them, and as people type them.

Inside the program a point in time is either an aware ``datetime`` in UTC or its *canonical text*,
``2026-11-24T08:00:00.000Z``: fixed width, milliseconds, so that comparing text compares time.
Okta: ``published`` has milliseconds and ends in ``Z``.
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
    """Give the local clock's time. Nothing that Okta's own clock decides may rest on it."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """Write a point in time canonically; what lies below a millisecond is cut off."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def from_text(text: str) -> datetime:
    """Read any ISO 8601 point in time (no zone means UTC), cut to milliseconds.

    Raises ValueError for what is none, and for one that has no place in UTC's years 1 to 9999.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("not ISO 8601")  # Python takes any character between date and time
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else _to_utc(moment)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def canonical(text: str) -> str:
    """Give the canonical text of a point in time; raise ValueError for what is none.

    Okta's own text is canonical already and only checked: this runs once an event.
    """
    if _CANONICAL(text):
        datetime.fromisoformat(text)
        return text
    return to_text(from_text(text))


def are_canonical(texts: Sequence[str]) -> bool:
    """Tell whether every text is canonical, in a fifth of the time of asking each."""
    if not _ALL_CANONICAL("\n".join([*texts, ""])):
        return False
    try:
        for _ in map(datetime.fromisoformat, texts):
            pass
    except ValueError:
        return False
    return True


def shifted(text: str, by: timedelta) -> str:
    """Shift a canonical text, stopping at the ends of the calendar: event time can be anything."""
    try:
        # Canonical text is in UTC, and so is what comes of it: only its ending differs.
        return (datetime.fromisoformat(text) + by).isoformat(timespec="milliseconds")[:_MILLISECONDS] + "Z"
    except OverflowError:
        return LAST if by > timedelta() else FIRST


def parse_when(text: str, *, now: datetime) -> datetime:
    """Read a point in time as people give it: ISO 8601, or an age such as ``90m`` or ``7d``.

    Raises ValueError with a sentence that says what is expected.
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
