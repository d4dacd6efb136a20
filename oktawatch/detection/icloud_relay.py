"""Recognize exit addresses of Apple's iCloud Private Relay.

Apple's relay hides an address like any anonymizer, but millions of ordinary people use it, so a sign-in
through it gets a lower severity. There are three independent sources of evidence: an enrichment of the event
that names the service, Okta's own classification of the address, and configured address ranges.
"""

import json
from typing import Any

from oktawatch.detection.networks import Networks
from oktawatch.model.event import Event
from oktawatch.model.sanitize import shorten

OPERATOR = "APPLE_ICLOUD_RELAY_PROXY"
"""Okta's name for the relay in ``ipServiceCategories`` and ``tunnels``."""

_ENRICHED_SERVICE = "Apple Private Relay"
_LISTED = "iCloud Private Relay"


def relay_service(event: Event, networks: Networks) -> str | None:
    """Return the relay's name as spelled in the evidence, or None without evidence of a relay."""
    if enriched_service(event) == _ENRICHED_SERVICE:
        return _ENRICHED_SERVICE
    if OPERATOR in operators(event):
        return OPERATOR
    return _LISTED if event.client_ip in networks else None


def enriched_service(event: Event) -> str | None:
    """Return the anonymizing service that an enrichment found for the client's address.

    ``client.ipAddress`` is a single key that contains a dot.
    """
    value: Any = event.p_enrichment
    for key in ("ipinfo_privacy", "client.ipAddress", "service"):
        value = value.get(key) if isinstance(value, dict) else None
    return shorten(value) if isinstance(value, str) and value else None


def operators(event: Event) -> set[str]:
    """Return the operators of the services that Okta sees behind the client's address."""
    services = [*event.ip_service_categories, *tunnels(event)]
    names = (service.get("operator") for service in services if isinstance(service, dict))
    return {name for name in names if isinstance(name, str)}


def tunnels(event: Event) -> list[Any]:
    """Parse debugData's ``tunnels``, a string holding a JSON array. Return an empty list for broken JSON."""
    text = event.debug_data.tunnels
    if not isinstance(text, str):
        return text if isinstance(text, list) else []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []
