"""Text for reports. Strangers typed most of it."""

from datetime import date, datetime

_LONGEST = 60  # characters


def printable(text: str) -> str:
    """Replace the unprintable characters of a text."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def clean(text: str) -> str:
    """Return a stranger's text, printable and at most `_LONGEST` characters long."""
    shown = printable(text[: 2 * _LONGEST])
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def short_day(day: date) -> str:
    """Return a day without its year: ``2 Nov``."""
    return f"{day.day} {day:%b}"


def minute(moment: datetime) -> str:
    """Return date and time: ``2026-11-02 12:00``."""
    return f"{moment:%Y-%m-%d %H:%M}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 alert``, ``2 people``."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
