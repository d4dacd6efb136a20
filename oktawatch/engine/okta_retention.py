"""How long Okta keeps what happened."""

from datetime import datetime, timedelta

OKTA_KEEPS = timedelta(days=90)
"""Okta: how long the System Log is kept. An older ``since`` gives what is left, a far older one an error."""


def clamp_to_okta_retention(since: datetime, now: datetime) -> datetime:
    """Move a beginning that lies before what Okta keeps to where that begins."""
    return max(since, now - OKTA_KEEPS)
