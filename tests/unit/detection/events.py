"""Events for detection tests: a small complete LogEvent, which a test can change."""

from datetime import UTC, datetime, timedelta
from typing import Any

from oktawatch.model.event import Event
from oktawatch.model.timestamps import to_text

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def sign_in(uuid: str = "e-1", at: timedelta = timedelta(), **changes: Any) -> dict[str, Any]:
    """Return the body of a sign-in through a proxy, ``at`` after noon."""
    return {
        "uuid": uuid,
        "published": to_text(NOON + at),
        "eventType": "user.session.start",
        "severity": "WARN",
        "actor": {"id": "00u1", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
        "client": {
            "ipAddress": "203.0.113.7",
            "geographicalContext": {"city": "Bergen", "country": "Norway"},
        },
        "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
        "securityContext": {
            "asNumber": 64500,
            "asOrg": "Example Hosting",
            "isp": "Example Transit",
            "domain": "example.net",
            "isProxy": True,
        },
        "request": {"ipChain": [{"ip": "203.0.113.7"}, {"ip": "198.51.100.9"}]},
    } | changes


def event(uuid: str = "e-1", at: timedelta = timedelta(), **changes: Any) -> Event:
    """Return the sign-in as an event."""
    return Event.from_body(sign_in(uuid, at, **changes))
