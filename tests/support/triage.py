"""Decide about alerts without notifying anyone."""

from collections.abc import Sequence
from datetime import datetime

from oktawatch.engine.triage import decide_and_notify
from oktawatch.store.database import Database
from oktawatch.store.triage import Decision


def decide(database: Database, ids: Sequence[int], decision: Decision, *, now: datetime) -> None:
    """Apply a decision to these alerts."""
    decide_and_notify(database, ids, decision, routes=(), tags={}, now=now)
