"""Durations as text: ``30s``, ``5m``, ``6h``, ``7d``, ``2w``."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LARGEST_FIRST = (("d", 86_400), ("h", 3_600), ("m", 60))
_match_duration = re.compile(r"(\d{1,9})([smhdw])", re.ASCII).fullmatch


def parse_duration(text: str) -> timedelta:
    """Parse a duration. Raises ValueError with a description of the expected format."""
    match = _match_duration(text.strip())
    if match is None:
        raise ValueError("expected a duration such as 30s, 5m, 6h or 7d")
    number, unit = match.groups()
    try:
        return timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError:
        raise ValueError("expected a duration below a million years") from None


def format_duration(duration: timedelta) -> str:
    """Format a duration in days, hours, minutes or seconds, the largest that divides it: ``timedelta(hours=6)`` is ``6h``.

    Fractions of a second are dropped.
    """
    seconds = int(duration.total_seconds())
    for unit, size in _LARGEST_FIRST:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def approximate_text(duration: timedelta) -> str:
    """Format a duration roughly: two days and an hour are ``2d``, an hour and a half ``90m``.

    Round down, in the largest unit of which there are at least two.
    """
    seconds = int(duration.total_seconds())
    for unit, size in _LARGEST_FIRST:
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
