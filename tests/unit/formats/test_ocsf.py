"""OCSF documents are valid according to the published schema of their version, whatever strangers typed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.formats.ocsf import Activity, base_event, finding
from oktawatch.model.severity import Severity
from tests.support.ocsf import validated
from tests.unit.formats.alerts import ALERT, EVENT, alerts


def valid_finding(**changes: Any) -> dict[str, Any]:
    """Return the finding of an alert, after validating it."""
    return validated(
        finding(ALERT | changes, document_id="id-1", incident_id="incident-1", activity=Activity.CLOSE)
    )


def test_an_alert_is_a_detection_finding() -> None:
    """Severity, status, verdict, rule, ATT&CK, actor, origin and events are in the attributes of OCSF."""
    document = valid_finding()

    assert (document["class_uid"], document["type_uid"]) == (2004, 200403)
    assert (document["severity_id"], document["status_id"], document["verdict_id"]) == (3, 4, 5)
    assert (document["start_time"], document["time"]) == (1_793_620_800_000, 1_793_621_130_000)
    assert document["finding_info"]["analytic"]["uid"] == "Okta.Anonymizing.VPN.Login"
    assert document["finding_info"]["attacks"] == [
        {"tactic": {"uid": "TA0001"}, "technique": {"uid": "T1078"}, "sub_technique": {"uid": "T1078.004"}},
        {"tactic": {"uid": "TA0006"}, "technique": {"uid": "T1556"}},
    ]
    (evidence,) = document["evidences"]
    assert evidence["uid"] == EVENT["event_uuid"]
    assert evidence["actor"]["user"] == {
        "uid": "00u1",
        "name": "nora@example.com",
        "full_name": "Nora Vale",
        "email_addr": "nora@example.com",
    }
    assert evidence["src_endpoint"]["ip"] == "203.0.113.7"
    assert evidence["src_endpoint"]["autonomous_system"] == {"number": 64500, "name": "Example Net"}
    assert evidence["http_request"] == {"user_agent": "ExampleBrowser/1.0"}
    assert document["metadata"]["uid"] == "id-1"
    assert document["metadata"]["tenant_uid"] == "acme"


@pytest.mark.parametrize(
    ("status", "disposition", "status_id", "verdict_id"),
    [
        ("open", None, 1, None),
        ("acknowledged", None, 2, None),
        ("closed", "true_positive", 4, 2),
        ("closed", "false_positive", 4, 1),
        ("pending", None, 99, None),
    ],
)
def test_decisions(status: str, disposition: str | None, status_id: int, verdict_id: int | None) -> None:
    """Status and disposition become OCSF's status and verdict."""
    document = valid_finding(status=status, disposition=disposition)
    assert (document["status_id"], document.get("verdict_id")) == (status_id, verdict_id)


def test_only_the_alerts_address_has_a_place() -> None:
    """An alert's columns describe its first address, so the address of another event has no place."""
    document = valid_finding(events=[EVENT, EVENT | {"client_ip": "198.51.100.9"}])
    first, second = (evidence["src_endpoint"] for evidence in document["evidences"])
    assert first["location"] == {"city": "Oslo", "country": "Norway"}
    assert second == {"ip": "198.51.100.9"}


@given(alerts(), st.sampled_from(Activity))
def test_every_alert_is_valid(alert: dict[str, Any], activity: Activity) -> None:
    """Any alert becomes a document that the schema accepts."""
    validated(finding(alert, document_id="id-1", incident_id="incident-1", activity=activity))


@pytest.mark.parametrize("severity", [None, *Severity])
def test_other_messages_are_base_events(severity: Severity | None) -> None:
    """A message that is not about an alert is a Base Event."""
    body = {"type": "silence.raised", "silence": {"about": [{"what": "org", "name": "acme", "error": None}]}}
    document = base_event(
        "silence.raised", "acme is silent", severity, body, document_id="id-1", at="2026-11-02T12:00:00.000Z"
    )
    assert validated(document)["unmapped"]["silence"]["about"] == [{"what": "org", "name": "acme"}]
