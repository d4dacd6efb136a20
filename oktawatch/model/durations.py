"""Durations as configuration and people write them: ``30s``, ``5m``, ``6h``, ``7d``, ``2w``."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LARGEST_FIRST = (("d", 86_400), ("h", 3_600), ("m", 60))
_DURATION = re.compile(r"(\d{1,9})([smhdw])", re.ASCII).fullmatch


def parse_duration(text: str) -> timedelta:
    """Read a duration; raise ValueError with what is expected for anything else."""
    found = _DURATION(text.strip())
    if found is None:
        raise ValueError("expected a duration such as 30s, 5m, 6h or 7d")
    number, unit = found.groups()
    try:
        return timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError:
        raise ValueError("expected a duration below a million years") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that divides it: ``timedelta(hours=6)`` is ``6h``.

    Parts of a second are dropped.
    """
    seconds = int(duration.total_seconds())
    for unit, size in _LARGEST_FIRST:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def round_duration(duration: timedelta) -> str:
    """Write a duration for people who don't count seconds: a weekend is ``2d``, an hour and a half ``90m``.

    In the largest unit that it has two of; what remains is dropped.
    """
    seconds = int(duration.total_seconds())
    for unit, size in _LARGEST_FIRST:
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
