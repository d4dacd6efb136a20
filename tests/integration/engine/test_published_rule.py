"""The main rule can be configured to be the rule as it was published, whatever else an event says."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.detection.registry import RuleSettings, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity
from oktawatch.store.database import Database
from tests.support.databases import NOW, ORG, empty, open_database, rows
from tests.support.places import Kind, place_of
from tests.support.streams import event, page

OPTIONS = {"signals": ["is_proxy"], "severity_from_evidence": False, "raise_on_success": False}
PUBLISHED = build_rules({"Okta.Anonymizing.VPN.Login": RuleSettings(options=OPTIONS)}, read_file=str)
RELAY = {"isAnonymous": True, "operator": "APPLE_ICLOUD_RELAY_PROXY", "type": "VPN"}
OTHER = {"isAnonymous": True, "operator": "OXYLABS_PROXY", "type": "Residential Proxy"}
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("published")) as place, open_database(place) as made:
        yield made


@st.composite
def sign_ins(draw: st.DrawFn) -> list[Event]:
    """Draw sign-ins in order of time, with all fields that the rule can be configured to use."""
    drawn: list[dict[str, Any]] = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "hour": st.integers(0, 100),
                    "ip": st.sampled_from(["203.0.113.7", "203.0.113.8"]),
                    "is_proxy": st.sampled_from([True, True, False, None]),
                    "services": st.sampled_from([None, [RELAY], [OTHER], [RELAY, OTHER]]),
                    "tunnels": st.sampled_from([None, '[{"anonymous": true, "type": "Tor"}]']),
                    "outcome": st.sampled_from(
                        [
                            {"result": "SUCCESS"},
                            {"result": "FAILURE"},
                            {"result": "FAILURE", "reason": "FastPass declined phishing attempt"},
                        ]
                    ),
                    "behaviors": st.sampled_from([None, "{New Device=POSITIVE, New Country=POSITIVE}"]),
                    "risk": st.sampled_from(["{level=LOW}", "{level=HIGH}"]),
                }
            ),
            max_size=20,
        )
    )
    return [
        event(
            number,
            at=fields["hour"] * HOUR,
            client={"ipAddress": fields["ip"]},
            outcome=fields["outcome"],
            securityContext={
                "isProxy": fields["is_proxy"],
                "asNumber": 64500,
                "ipDetails": {"ipServiceCategories": fields["services"]},
            },
            debugContext={
                "debugData": {
                    "tunnels": fields["tunnels"],
                    "behaviors": fields["behaviors"],
                    "risk": fields["risk"],
                }
            },
        )
        for number, fields in enumerate(sorted(drawn, key=lambda fields: fields["hour"]))
    ]


def published(events: Sequence[Event]) -> list[tuple[str, int, str]]:
    """Return the key, the size and the severity of each alert of the published rule, in the order of opening.

    It matches sign-ins with isProxy. They are INFO through Apple's relay alone, else MEDIUM. An alert has the matches of
    an actor and address within six hours of its first one.
    """
    alerts: list[dict[str, Any]] = []
    for event_ in events:
        body = event_.body()
        if body["securityContext"]["isProxy"] is not True:
            continue
        services = body["securityContext"]["ipDetails"]["ipServiceCategories"] or []
        is_relay = services == [RELAY] and body["debugContext"]["debugData"]["tunnels"] is None
        severity = Severity.INFO if is_relay else Severity.MEDIUM
        key = json.dumps([event_.actor_id, event_.client_ip], separators=(",", ":"))
        latest = next((alert for alert in reversed(alerts) if alert["key"] == key), None)
        if latest is None or event_.published_at - latest["anchor"] >= 6 * HOUR:
            latest = {"key": key, "anchor": event_.published_at, "count": 0, "severity": severity}
            alerts.append(latest)
        latest["count"] += 1
        latest["severity"] = max(latest["severity"], severity)
    return [(alert["key"], alert["count"], alert["severity"]) for alert in alerts]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_results_agree_with_the_published_rule(database: Database, data: st.DataObject) -> None:
    """Matches, alerts and severities are those of the published rule, in pages of any size."""
    empty(database)
    events = data.draw(sign_ins())
    size = data.draw(st.integers(1, 20))
    for start in range(0, len(events), size):
        watch = Watch(org=ORG, rules=PUBLISHED)
        part = page(events[start : start + size])
        commit_page(database, watch, part, notify=True, advance=lambda *_: None, now=NOW)
    found = rows(database, "alerts")
    assert [(row["dedup_key"], row["event_count"], row["severity"]) for row in found] == published(events)
    matched = {event_.uuid for event_ in events if event_.is_proxy is True}
    assert {row["event_uuid"] for row in rows(database, "matches")} == matched
