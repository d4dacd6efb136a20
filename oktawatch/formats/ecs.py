"""Documents in the Elastic Common Schema. docs/export.md has the table of fields.

https://www.elastic.co/docs/reference/ecs
"""

from collections.abc import Mapping
from typing import Any

from oktawatch import __version__
from oktawatch.formats.values import address, attacks, compact, email, event_type, user_agent
from oktawatch.model.match import FAILURES, SUCCESSES
from oktawatch.model.severity import Severity

ECS_VERSION = "9.4.0"
_OWN_COLUMNS = (
    "status", "disposition", "event_count", "successes", "failures", "succeeded_at", "failed_at", "risen", "anonymizer",
    "operator", "isp", "note", "closed_at", "closed_by",
)  # fmt: skip
"""Columns without an ECS field, which are kept below ``oktawatch.alert``."""


def alert_document(
    alert: Mapping[str, Any], *, document_id: str, incident_id: str, notification: str | None = None
) -> dict[str, Any]:
    """Return an alert as an ECS document.

    ``document_id`` identifies this document, so that a receiver can drop duplicates. ``incident_id``
    identifies the alert, and is the same in all documents about it. ``notification`` is the type of the message, such
    as ``alert.raised``.
    """
    events = alert.get("events", [])
    login, ip = alert["actor_alternate_id"], address(alert["client_ip"])
    document = {
        "@timestamp": alert["last_event_at"],
        "message": alert["title"],
        "event": _event(alert, document_id),
        "rule": {"id": alert["rule_id"], "name": alert["rule_name"], "ruleset": "oktawatch"},
        "threat": _threat(alert["mitre"]),
        "user": {
            "id": alert["actor_id"],
            "name": login,
            "full_name": alert["actor_display_name"],
            "email": email(login),
        },
        "source": {
            "address": alert["client_ip"],
            "ip": ip,
            "domain": alert["domain"],
            "geo": {"country_name": alert["country"], "city_name": alert["city"]},
            "as": {"number": alert["as_number"], "organization": {"name": alert["as_org"]}},
        },
        "user_agent": {"original": user_agent(alert, events)},
        "related": {"ip": _addresses(ip, events), "user": [login, alert["actor_id"]]},
        "organization": {"name": alert["org"]},
    }
    own = {name: alert[name] for name in _OWN_COLUMNS} | {
        "id": alert["id"],
        "incident": incident_id,
        "notification": notification,
        "severity": alert["severity"],
        "events": [dict(event) for event in events],
    }
    compacted: dict[str, Any] = compact(document | _origin("alert", own))
    return compacted


def _event(alert: Mapping[str, Any], document_id: str) -> dict[str, Any]:
    return {
        "kind": "alert",
        "category": ["intrusion_detection"],
        "type": ["info"],
        "id": document_id,
        "action": event_type(alert, alert.get("events", [])),
        "outcome": _outcome(alert["outcome_result"]),
        "reason": alert["outcome_reason"],
        "severity": Severity[alert["severity"]].value,
        "start": alert["first_event_at"],
        "end": alert["last_event_at"],
        "created": alert["created_at"],
        "url": alert["url"],
    }


def other_document(
    kind: str, text: str, body: Mapping[str, Any], *, document_id: str, at: str
) -> dict[str, Any]:
    """Return a message that is not about one alert, such as an alarm about oktawatch itself."""
    document = {
        "@timestamp": at,
        "message": text,
        "event": {"kind": "event", "id": document_id, "action": kind},
    }
    compacted: dict[str, Any] = compact(document | _origin("message", dict(body)))
    return compacted


def _origin(name: str, own: dict[str, Any]) -> dict[str, Any]:
    return {
        "ecs": {"version": ECS_VERSION},
        "observer": {"vendor": "oktawatch", "product": "oktawatch", "version": __version__},
        "oktawatch": {name: own},
    }


def _outcome(result: str | None) -> str:
    if result in SUCCESSES:
        return "success"
    return "failure" if result in FAILURES else "unknown"


def _threat(mitre: list[str]) -> dict[str, Any]:
    found = attacks(mitre)
    if not found:
        return {}
    subtechniques = _distinct([attack.subtechnique for attack in found])
    return {
        "framework": "MITRE ATT&CK",
        "tactic": {"id": _distinct([attack.tactic for attack in found])},
        "technique": {
            "id": _distinct([attack.technique for attack in found]),
            "subtechnique": {"id": subtechniques},
        },
    }


def _addresses(first: str | None, events: list[Mapping[str, Any]]) -> list[str]:
    return _distinct([first, *(address(event["client_ip"]) for event in events)])


def _distinct(values: list[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
