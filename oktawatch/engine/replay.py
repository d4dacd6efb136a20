"""Find what a rule would have alerted, had it been on, by reading the past with that rule alone.

The past is read by a backfill into a database in memory. It begins one window before the requested time, so
that a rule that looks back has the history that it would have had then.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from oktawatch.detection.registry import RuleSet
from oktawatch.model.timestamps import to_text
from oktawatch.store.alerts import AlertFilter, list_alerts
from oktawatch.store.database import Database
from oktawatch.store.matches import count_matches

_DAY = timedelta(days=1)
_ALL = 2**63 - 1


class Replayed(Struct, frozen=True, kw_only=True):
    """What came of it. Days are UTC's."""

    matches: int
    alerts: list[dict[str, Any]]
    """As `alerts list` gives them, the one with the latest match first."""
    days: dict[str, int]
    """How many alerts would have been opened on each day, days without any among them."""
    alerts_a_day: float
    """On average over the time that was asked about."""


def reading_from(rules: RuleSet, since: datetime) -> datetime:
    """Say from when on the past has to be read."""
    return since - rules.longest_window


def replayed(database: Database, *, since: datetime, until: datetime) -> Replayed:
    """Gather what a reading has left in its database; alerts that were opened before ``since`` don't count."""
    begin = to_text(since)
    alerts = [one for one in list_alerts(database, AlertFilter(), limit=_ALL) if one["anchor"] >= begin]
    counts = Counter(alert["anchor"][:10] for alert in alerts)
    days = {}
    day = since.date()
    while day <= until.date():
        days[day.isoformat()] = counts[day.isoformat()]
        day += _DAY
    return Replayed(
        matches=count_matches(database, since=since),
        alerts=alerts,
        days=days,
        alerts_a_day=len(alerts) / ((until - since) / _DAY),
    )
