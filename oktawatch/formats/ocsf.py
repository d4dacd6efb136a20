"""Documents in the Open Cybersecurity Schema Framework. docs/export.md has the table of attributes.

An alert is a Detection Finding with the profile Incident. Other messages are Base Events. Tests validate both with
the published schema.

https://schema.ocsf.io/1.5.0/classes/detection_finding
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from oktawatch import __version__
from oktawatch.formats.values import (
    Attack,
    address,
    attacks,
    compact,
    email,
    event_type,
    milliseconds,
    user_agent,
)
from oktawatch.model.severity import Severity

OCSF_VERSION = "1.5.0"
_CLASS = 2004
# By severity_id, which counts from 1, as the values of `Severity` do.
_SEVERITIES = ("Informational", "Low", "Medium", "High", "Critical")
_STATUSES = {"open": (1, "New"), "acknowledged": (2, "In Progress"), "closed": (4, "Resolved")}
_VERDICTS = {
    "false_positive": (1, "False Positive"),
    "true_positive": (2, "True Positive"),
    "benign": (5, "Benign"),
}
_OWN_COLUMNS = (
    "id", "dedup_key", "anchor", "outcome_result", "outcome_reason", "successes", "failures", "succeeded_at", "failed_at",
    "risen", "anonymizer", "operator", "closed_at", "closed_by",
)  # fmt: skip
"""Columns without an OCSF attribute, which are kept below ``unmapped``."""


class Activity(IntEnum):
    """What happened to a finding."""

    CREATE = 1
    UPDATE = 2
    CLOSE = 3


def finding(
    alert: Mapping[str, Any], *, document_id: str, incident_id: str, activity: Activity
) -> dict[str, Any]:
    """Return an alert as a Detection Finding.

    ``document_id`` identifies this document, so that a receiver can drop duplicates. ``incident_id``
    identifies the alert, and is the same in all documents about it.
    """
    severity = Severity[alert["severity"]]
    status_id, status = _STATUSES.get(alert["status"], (99, alert["status"].capitalize()))
    verdict_id, verdict = _VERDICTS.get(alert["disposition"], (None, None))
    document = {
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": activity.value,
        "activity_name": activity.name.capitalize(),
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Detection Finding: {activity.name.capitalize()}",
        "time": milliseconds(alert["last_event_at"]),
        "start_time": milliseconds(alert["first_event_at"]),
        "end_time": milliseconds(alert["last_event_at"]),
        "count": alert["event_count"],
        "message": alert["title"],
        "severity_id": severity.value,
        "severity": _SEVERITIES[severity - 1],
        "status_id": status_id,
        "status": status,
        "verdict_id": verdict_id,
        "verdict": verdict,
        "comment": alert["note"],
        "is_alert": True,
        "finding_info": _finding_info(alert, incident_id),
        "evidences": _evidences(alert),
        "observables": _observables(alert),
        "metadata": _metadata(document_id)
        | {
            "profiles": ["incident"],
            "correlation_uid": incident_id,
            "event_code": alert["rule_id"],
            "tenant_uid": alert["org"],
        },
        "unmapped": {name: alert[name] for name in _OWN_COLUMNS},
    }
    compacted: dict[str, Any] = compact(document)
    return compacted


def base_event(
    kind: str, text: str, severity: Severity | None, body: Mapping[str, Any], *, document_id: str, at: str
) -> dict[str, Any]:
    """Return a message that is not about one alert, such as an alarm about oktawatch itself."""
    document = {
        "class_uid": 0,
        "class_name": "Base Event",
        "category_uid": 0,
        "category_name": "Uncategorized",
        "activity_id": 99,
        "activity_name": kind,
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "time": milliseconds(at),
        "message": text,
        "severity_id": severity.value if severity else 1,
        "severity": _SEVERITIES[severity - 1] if severity else _SEVERITIES[0],
        "metadata": _metadata(document_id) | {"event_code": kind},
        "unmapped": dict(body),
    }
    compacted: dict[str, Any] = compact(document)
    return compacted


def _metadata(document_id: str) -> dict[str, Any]:
    product = {"name": "oktawatch", "vendor_name": "oktawatch", "version": __version__}
    return {"version": OCSF_VERSION, "uid": document_id, "product": product}


def _finding_info(alert: Mapping[str, Any], incident_id: str) -> dict[str, Any]:
    return {
        "uid": incident_id,
        "title": alert["title"],
        "created_time": milliseconds(alert["created_at"]),
        "modified_time": milliseconds(alert["updated_at"]),
        "first_seen_time": milliseconds(alert["first_event_at"]),
        "last_seen_time": milliseconds(alert["last_event_at"]),
        "src_url": alert["url"],
        "data_sources": ["Okta System Log"],
        "analytic": {
            "uid": alert["rule_id"],
            "name": alert["rule_name"] or alert["rule_id"],
            "type_id": 1,
            "type": "Rule",
        },
        "attacks": [_attack(attack) for attack in attacks(alert["mitre"])],
        "related_events_count": alert["event_count"],
    }


def _attack(attack: Attack) -> dict[str, Any]:
    return {
        "tactic": {"uid": attack.tactic} if attack.tactic else None,
        "technique": {"uid": attack.technique} if attack.technique else None,
        "sub_technique": {"uid": attack.subtechnique} if attack.subtechnique else None,
    }


def _evidences(alert: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the alert's events. If they are not known, return only the event that opened the alert."""
    events = alert.get("events", [])
    actor = {"user": _user(alert)}
    if not events:
        first = {
            "actor": actor,
            "src_endpoint": _endpoint(alert, alert["client_ip"]),
            "http_request": {"user_agent": user_agent(alert, events)},
            "data": {"event_type": event_type(alert, events), "outcome": alert["outcome_result"]},
        }
        return [first]
    return [
        {
            "uid": event["event_uuid"],
            "actor": actor,
            "src_endpoint": _endpoint(alert, event["client_ip"]),
            "http_request": {"user_agent": event["user_agent"]},
            "data": {name: event[name] for name in ("published", "event_type", "outcome", "outcome_reason")},
        }
        for event in events
    ]


def _user(alert: Mapping[str, Any]) -> dict[str, Any]:
    login = alert["actor_alternate_id"]
    user = {"uid": alert["actor_id"], "name": login, "full_name": alert["actor_display_name"]}
    is_named = user["uid"] or login  # OCSF needs a uid or a name
    return user | {"email_addr": email(login)} if is_named else {}


def _endpoint(alert: Mapping[str, Any], client_ip: str | None) -> dict[str, Any]:
    """Return the endpoint of an address. Place and network are only known for the alert's own address."""
    ip = address(client_ip)
    endpoint = {"ip": ip, "name": client_ip if ip is None else None}
    if not client_ip or client_ip != alert["client_ip"]:
        return endpoint
    return endpoint | {
        "domain": alert["domain"],
        "isp": alert["isp"],
        "location": {"city": alert["city"], "country": alert["country"]},
        "autonomous_system": {"number": alert["as_number"], "name": alert["as_org"]},
    }


def _observables(alert: Mapping[str, Any]) -> list[dict[str, Any]]:
    login, ip = alert["actor_alternate_id"], address(alert["client_ip"])
    found = []
    if ip:
        found.append({"name": "evidences.src_endpoint.ip", "type_id": 2, "type": "IP Address", "value": ip})
    if login:
        found.append({"name": "evidences.actor.user.name", "type_id": 4, "type": "User Name", "value": login})
    return found
