"""ECS documents have exactly the documented fields, with the types of ECS."""

import re
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hypothesis import given

from oktawatch.formats.ecs import ECS_VERSION, alert_document, other_document
from oktawatch.formats.values import json_line
from tests.unit.formats.alerts import ALERT, EVENT, alerts

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"
LISTS = {
    "event.category", "event.type", "threat.tactic.id", "threat.technique.id", "threat.technique.subtechnique.id",
    "related.ip", "related.user",
}  # fmt: skip
DATES = {"@timestamp", "event.start", "event.end", "event.created"}
NUMBERS = {"event.severity", "source.as.number"}
ADDRESSES = {"source.ip", "related.ip"}


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of a document's fields with their values, without those below ``oktawatch``."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, item in value.items():
        if name != "oktawatch":
            yield from fields(item, f"{path}.{name}" if path else name)


def documented() -> set[str]:
    """Return the documented ECS fields."""
    table = DOCUMENT.read_text("utf-8").partition("\n## ECS\n")[2].partition("\n## OCSF\n")[0]
    names = (re.findall(r"`([^`]+)`", row) for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    return {name for found in names for name in found} - {"oktawatch.alert.*"}


def test_a_document_has_the_documented_fields() -> None:
    """The document of a complete alert has exactly the documented fields."""
    document = alert_document(ALERT, document_id="id-1", incident_id="incident-1")
    assert dict(fields(document)).keys() == documented()
    own = document["oktawatch"]["alert"]
    assert own.keys() >= {"id", "incident", "status", "disposition", "anonymizer", "operator", "events"}


def test_an_alert_is_mapped() -> None:
    """Times, severity, outcome, person, origin and ATT&CK ids are in the fields of ECS."""
    document = dict(fields(alert_document(ALERT, document_id="id-1", incident_id="incident-1")))
    assert document["@timestamp"] == ALERT["last_event_at"]
    assert document["ecs.version"] == ECS_VERSION
    assert (document["event.severity"], document["event.outcome"]) == (3, "failure")
    assert (document["user.name"], document["user.email"]) == ("nora@example.com", "nora@example.com")
    assert (document["source.ip"], document["source.as.number"]) == ("203.0.113.7", 64500)
    assert document["threat.tactic.id"] == ["TA0001", "TA0006"]
    assert document["threat.technique.id"] == ["T1078", "T1556"]
    assert document["threat.technique.subtechnique.id"] == ["T1078.004"]


def test_all_addresses_are_related() -> None:
    """The addresses of all events are in ``related.ip``, so that a search for any of them finds the alert."""
    events = [EVENT, EVENT | {"client_ip": "198.51.100.9"}, EVENT | {"client_ip": "nowhere"}]
    document = alert_document(ALERT | {"events": events}, document_id="id-1", incident_id="incident-1")
    assert document["related"]["ip"] == ["203.0.113.7", "198.51.100.9"]


@given(alerts())
def test_every_alert_has_the_types_of_ecs(alert: dict[str, Any]) -> None:
    """Any alert becomes a document with the types of ECS, in one line of ASCII."""
    document = alert_document(alert, document_id="id-1", incident_id="incident-1")
    found = dict(fields(document))
    assert found.keys() <= documented()
    for name, value in found.items():
        assert isinstance(value, list) == (name in LISTS), name
        for item in value if isinstance(value, list) else [value]:
            if name in DATES:
                datetime.fromisoformat(item)
            elif name in ADDRESSES:
                ip_address(item)
            else:
                assert isinstance(item, int if name in NUMBERS else str), name
    line = json_line(document)
    assert line.isascii()
    assert line.isprintable()


def test_other_messages_are_events() -> None:
    """A message that is not about an alert has the kind ``event``."""
    document = other_document(
        "test", "a test", {"type": "test"}, document_id="id-1", at="2026-11-02T12:00:00.000Z"
    )
    assert document["event"] == {"kind": "event", "id": "id-1", "action": "test"}
    assert document["oktawatch"] == {"message": {"type": "test"}}
