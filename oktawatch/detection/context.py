"""Build an alert's context from its event."""

from typing import Any

from oktawatch.model.event import Event
from oktawatch.model.privacy import is_placeholder
from oktawatch.model.timestamps import FIRST


def event_context(event: Event) -> dict[str, Any]:
    """Return the parts of an event that an analyst needs. Each key is present even when the event lacks it."""
    body = event.body()
    actor = _object(body, "actor")
    return {
        "event_type": _string(body, "eventType"),
        "severity": _string(body, "severity"),
        "actor": actor,
        "client": _object(body, "client"),
        "request": _object(body, "request"),
        "outcome": _object(body, "outcome"),
        "target": _list(body, "target"),
        "debug_context": _object(body, "debugContext"),
        "authentication_context": _object(body, "authenticationContext"),
        "security_context": _object(body, "securityContext"),
        "ips": addresses(body),
        "displayName": _string(actor, "displayName"),
        "alternateId": _string(actor, "alternateId"),
    }


def addresses(body: dict[str, Any]) -> list[str]:
    """Return the distinct addresses in an event: the client's address, then the addresses of the request's IP chain."""
    chain = _list(_object(body, "request"), "ipChain")
    candidates = [
        _string(_object(body, "client"), "ipAddress"),
        *(_string(hop, "ip") for hop in chain if isinstance(hop, dict)),
    ]
    return list(dict.fromkeys(address for address in candidates if not is_placeholder(address)))


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []


def _string(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


_PARTS = {
    "event_type": "eventType",
    "actor": "actor",
    "client": "client",
    "request": "request",
    "outcome": "outcome",
    "target": "target",
    "debug_context": "debugContext",
    "authentication_context": "authenticationContext",
    "security_context": "securityContext",
}
"""The event's key for each key of a context that `event_of_context` reads."""


def event_of_context(context: Any) -> Event:
    """Rebuild an event from an alert's context. The event's uuid and time are placeholders.

    A custom rule can build any context, so any part can be missing.
    """
    parts = context if isinstance(context, dict) else {}
    body = {name: parts[key] for key, name in _PARTS.items() if key in parts}
    return Event.from_body(body | {"uuid": "context", "published": FIRST})
