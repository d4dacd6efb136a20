"""A month of alerts, including one with hostile names."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from oktawatch.model.alert_fact import AlertFact
from oktawatch.model.severity import Severity

SINCE = datetime(2026, 10, 3, 12, 0, tzinfo=UTC)
UNTIL = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOSTILE = "<script>hacked = 1</script><img src=x onerror='hacked = 1'>"
RULES = {
    "Okta.Anonymizing.VPN.Login": "Okta Sign-In from VPN Anonymizer",
    "Okta.Multiple.Sessions": "Okta User With Multiple Sessions",
    "Acme.Own.Rule": "A rule of our own",
}
_NAMES = [
    "nora", "abel", "eve", "mallory", "trent", "peggy", "victor", "walter", "oscar", "ivan", "judy", "heidi",
]  # fmt: skip
_PLACES = [
    ("Norway", 64500, "Example Net"), ("Chile", 64501, "Example Communications Limited Liability Company"),
    ("Japan", 64502, "Example Hosting"), ("Peru", 64503, "Example Cloud"), (None, None, None), ("Kenya", 64504, None),
]  # fmt: skip
_ANONYMIZERS = [
    ("commercial_vpn", "NORD_VPN"), ("relay", "APPLE_ICLOUD_RELAY_PROXY"), ("tor", None), ("proxy", None), (None, None),
    ("residential_proxy", "EXAMPLE_RESIDENTIAL_PROXY"),
]  # fmt: skip


def fact(number: int = 1, **changes: Any) -> AlertFact:
    """Return the facts about one alert."""
    columns: dict[str, Any] = {
        "id": number, "org": "acme", "rule_id": "Okta.Anonymizing.VPN.Login", "severity": Severity.MEDIUM, "status": "open",
        "disposition": None, "first_event_at": UNTIL - timedelta(hours=1), "event_count": 1, "successes": 0, "failures": 1,
        "actor_id": "00u1", "actor_alternate_id": "nora@example.com", "client_ip": "203.0.113.7", "country": "Norway",
        "as_number": 64500, "as_org": "Example Net", "anonymizer": "commercial_vpn", "operator": "NORD_VPN",
    }  # fmt: skip
    return AlertFact(**columns | changes)


def month(alerts: int = 400) -> list[AlertFact]:
    """Return a month of alerts with a flood on one day. The random seed is fixed."""
    draw = random.Random(7)
    facts = []
    for number in range(alerts):
        name = draw.choice(_NAMES[: draw.choice([3, 6, 12])])
        country, as_number, as_org = draw.choice(_PLACES[: draw.choice([2, 4, 6])])
        kind, operator = draw.choice(_ANONYMIZERS)
        got_in = draw.random() < 0.2
        disposition = draw.choices([None, "true_positive", "benign", "false_positive"], [60, 8, 20, 12])[0]
        day = 12.0 if draw.random() < 0.15 else draw.random() * 30
        facts.append(
            fact(
                number,
                org=draw.choice(["acme", "acme-eu"]),
                rule_id=draw.choices([*RULES], [80, 15, 5])[0],
                severity=draw.choices([*Severity], [30, 25, 30, 12, 3])[0],
                status="closed" if disposition else draw.choice(["open", "acknowledged"]),
                disposition=disposition,
                first_event_at=SINCE + timedelta(days=day, hours=draw.gauss(0, 1)),
                event_count=draw.randint(1, 9),
                successes=int(got_in),
                failures=draw.randint(0, 4),
                actor_id=f"00u{name}",
                actor_alternate_id=f"{name}@example.com",
                client_ip=f"203.0.113.{draw.randint(1, 40)}",
                country=country,
                as_number=as_number,
                as_org=as_org,
                anonymizer=kind,
                operator=operator,
            )
        )
    facts.append(
        fact(
            alerts, severity=Severity.CRITICAL, successes=1, actor_id="00uhostile", actor_alternate_id=HOSTILE,
            client_ip=HOSTILE, country=HOSTILE, as_org=HOSTILE, operator=HOSTILE, rule_id=HOSTILE, org=HOSTILE,
        )
    )  # fmt: skip
    return [one for one in facts if SINCE <= one.first_event_at < UNTIL]
