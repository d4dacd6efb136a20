"""Describe which rows have expired."""

from datetime import datetime, timedelta

from oktawatch.detection.registry import build_rules
from oktawatch.store.pruning import Expiry
from tests.support.databases import NOW, ORG

DEFAULT = build_rules({}, read_file=str)


def expiry(*, events: datetime, served: datetime, sightings: datetime | None = None) -> Expiry:
    """Return an expiry of events before ``events``, and of keys before ``served``."""
    return Expiry(
        org=ORG, events=events, history=events, alerts=events, sightings=sightings or events, served=served,
        familiar=served,
        is_in_history=DEFAULT.is_in_history, backfill_look_back=timedelta(), backfills_active_since=NOW,
    )  # fmt: skip
