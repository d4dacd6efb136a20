"""Compute the expected rows from a simulated org's own record, without the program's code."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

PERIOD = timedelta(hours=6)
LEVELS = ("INFO", "MEDIUM")
ALLOWED = "198.51.100.99"
"""The address for which there is an allow entry."""


@dataclass
class Expected:
    """The expected rows of an org."""

    events: set[str] = field(default_factory=set)
    matches: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)
    rejected: int = 0
    alerts: list["ExpectedAlert"] = field(default_factory=list)
    sightings: dict[tuple[str, str], "ExpectedSighting"] = field(default_factory=dict)
    """By actor and address."""


@dataclass
class ExpectedSighting:
    """The sign-ins of one person from one address."""

    first_at: datetime
    last_at: datetime
    successes: int = 0
    failures: int = 0


@dataclass
class ExpectedAlert:
    """The expected columns of an alert."""

    key: str
    anchor: datetime
    severity: str
    times: list[datetime]
    notified: list[str]
    """The kinds of its notifications, all of which the receiver gets."""

    def joined(self, at: datetime, severity: str) -> None:
        """Add a match."""
        self.times.append(at)
        if LEVELS.index(severity) > LEVELS.index(self.severity):
            self.severity = severity
            self.notified.append("raised")


def expected(events: Iterable[Any]) -> Expected:
    """Compute the expected rows from an org's events, in the order of their persistence."""
    result = Expected()
    seen_broken = set()
    for event in events:
        if not (isinstance(event.get("uuid"), str) and isinstance(event.get("published"), str)):
            seen_broken.add(json.dumps(event, sort_keys=True))
            continue
        result.events.add(event["uuid"])
        _count_sign_in(result.sightings, event)
        if event["securityContext"]["isProxy"] is True and event["client"]["ipAddress"] == ALLOWED:
            result.allowed.add(event["uuid"])
        elif event["securityContext"]["isProxy"] is True:
            result.matches.add(event["uuid"])
            _add_to_alert(result.alerts, event)
    result.rejected = len(seen_broken)
    return result


def _count_sign_in(sightings: dict[tuple[str, str], ExpectedSighting], event: Any) -> None:
    at = datetime.fromisoformat(event["published"])
    pair = (event["actor"]["id"], event["client"]["ipAddress"])
    sighting = sightings.setdefault(pair, ExpectedSighting(at, at))
    sighting.first_at, sighting.last_at = min(sighting.first_at, at), max(sighting.last_at, at)
    sighting.successes += event["outcome"]["result"] == "SUCCESS"
    sighting.failures += event["outcome"]["result"] == "FAILURE"


def _add_to_alert(alerts: list[ExpectedAlert], event: Any) -> None:
    key = json.dumps([event["actor"]["id"], event["client"]["ipAddress"]], separators=(",", ":"))
    at = datetime.fromisoformat(event["published"])
    severity = "INFO" if "ipDetails" in event["securityContext"] else "MEDIUM"
    of_key = sorted((alert for alert in alerts if alert.key == key), key=lambda alert: alert.anchor)
    holding = [alert for alert in of_key if alert.anchor <= at < alert.anchor + PERIOD]
    ahead = [alert for alert in of_key if at < alert.anchor < at + PERIOD]
    if holding:
        holding[-1].joined(at, severity)
    elif ahead:
        ahead[0].joined(at, severity)
    else:
        alerts.append(ExpectedAlert(key, at, severity, [at], ["opened"]))
