"""How long Okta keeps events."""

from datetime import datetime, timedelta

OKTA_KEEPS = timedelta(days=90)
"""Okta's retention of the System Log. An older ``since`` returns the events that are left, a far older one an error."""


def clamp_to_okta_retention(since: datetime, now: datetime) -> datetime:
    """Return ``since``, or the beginning of Okta's retention if that is later."""
    return max(since, now - OKTA_KEEPS)
