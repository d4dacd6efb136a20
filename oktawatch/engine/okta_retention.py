"""The time for which Okta keeps events."""

from datetime import datetime, timedelta

OKTA_KEEPS = timedelta(days=90)
"""Okta's retention of the System Log. A request from an older time returns the remaining events, or fails
if that time is much older."""


def clamp_to_okta_retention(since: datetime, now: datetime) -> datetime:
    """Return ``since``, or the beginning of Okta's retention if that is later."""
    return max(since, now - OKTA_KEEPS)
