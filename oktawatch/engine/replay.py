"""Find the alerts that a rule would have opened, by replaying past events with that rule alone.

A backfill reads the events into an in-memory database. It starts one window before the requested time, so that a
rule that looks back has the history that it would have had then.
"""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import Struct

from oktawatch.detection.registry import RuleSet
from oktawatch.model.timestamps import from_text, shifted, to_text
from oktawatch.store.alerts import AlertFilter, list_alerts
from oktawatch.store.database import Database
from oktawatch.store.matches import count_matches

_DAY = timedelta(days=1)
_ALL = 2**63 - 1


class Replayed(Struct, frozen=True, kw_only=True):
    """The alerts that the rule would have opened. Days are in UTC."""

    matches: int
    """The number of matches and signals."""
    alerts: list[dict[str, Any]]
    """The rows that `alerts list` shows, the alert with the latest match first."""
    days: dict[str, int]
    """The number of alerts opened on each day, by event time, including days without alerts."""
    alerts_a_day: float
    """The average over the requested time."""


def reading_from(rules: RuleSet, since: datetime) -> datetime:
    """Return the time from which events must be read to find all alerts since ``since``."""
    return from_text(shifted(to_text(since), -rules.longest_window))


def replayed(database: Database, *, since: datetime, until: datetime) -> Replayed:
    """Collect the result of a backfill from its database, without the alerts that were opened before ``since``."""
    begin = to_text(since)
    alerts = [alert for alert in list_alerts(database, AlertFilter(), limit=_ALL) if alert["anchor"] >= begin]
    counts = Counter(alert["anchor"][:10] for alert in alerts)
    days = [date.fromordinal(day).isoformat() for day in range(since.toordinal(), until.toordinal() + 1)]
    return Replayed(
        matches=count_matches(database, since=since),
        alerts=alerts,
        days={day: counts[day] for day in days},
        alerts_a_day=len(alerts) / ((until - since) / _DAY),
    )
