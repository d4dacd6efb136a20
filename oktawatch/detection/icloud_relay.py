"""Evidence that an address is an exit of Apple's iCloud Private Relay.

Apple's relay hides an address like any anonymizer does, but it is switched on for millions of
ordinary people, so a sign-in through it is demoted instead of alarming. Three independent witnesses:
an enrichment of the event that names the service, Okta's own classification of the address, and a
list of ranges that the operator configured.
"""

import json
from typing import Any

from oktawatch.detection.networks import Networks
from oktawatch.model.event import Event
from oktawatch.model.sanitize import shorten

OPERATOR = "APPLE_ICLOUD_RELAY_PROXY"
"""How Okta names the relay in ``ipServiceCategories`` and ``tunnels``."""

_ENRICHED_SERVICE = "Apple Private Relay"
_LISTED = "iCloud Private Relay"


def relay_service(event: Event, networks: Networks) -> str | None:
    """Give the relay's name as the evidence spells it; None when nothing speaks for a relay."""
    if enriched_service(event) == _ENRICHED_SERVICE:
        return _ENRICHED_SERVICE
    if OPERATOR in operators(event):
        return OPERATOR
    return _LISTED if event.client_ip in networks else None


def enriched_service(event: Event) -> str | None:
    """Give the anonymizing service that an enrichment found for the client's address.

    The key ``client.ipAddress`` is literal, dot included.
    """
    found: Any = event.p_enrichment
    for key in ("ipinfo_privacy", "client.ipAddress", "service"):
        found = found.get(key) if isinstance(found, dict) else None
    return shorten(found) if isinstance(found, str) and found else None


def operators(event: Event) -> set[str]:
    """Name the operators of the services that Okta sees behind the client's address."""
    listed = [*event.ip_service_categories, *tunnels(event)]
    names = (one.get("operator") for one in listed if isinstance(one, dict))
    return {name for name in names if isinstance(name, str)}


def tunnels(event: Event) -> list[Any]:
    """Read debugData's ``tunnels``, a text that holds a JSON array; broken JSON gives none."""
    text = event.debug_data.tunnels
    if not isinstance(text, str):
        return text if isinstance(text, list) else []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []
