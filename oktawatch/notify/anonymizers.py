"""Name the anonymizers behind an alert's address for people.

Okta names the services in the event, which is in the alert's context. The alert's columns ``anonymizer`` and ``operator``
name the worst service according to all evidence, such as a list of Tor exits.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.anonymizers import associated_proxies, service_categories, tunnels
from oktawatch.model.json_values import inside
from oktawatch.model.wire import DebugData, IpDetails, SecurityContext
from oktawatch.notify.text import harmless

_LONGEST = 40  # characters of a kind or an operator
_MAX_NAMED = 5  # anonymizers of an address
_CONSTANT = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)*").fullmatch
_KINDS = {
    "VPN": "a VPN",
    "TOR": "Tor",
    "PROXY": "a proxy",
    "RELAY": "a relay",
    "HOSTING": "a hosting provider",
}
_OPERATORS = {"APPLE_ICLOUD_RELAY_PROXY": "iCloud Private Relay"}


_LABELS = {kind.value: kind.label for kind in AnonymizerKind}
_UNSPECIFIC = ("", AnonymizerKind.PROXY, AnonymizerKind.UNKNOWN)
"""Kinds that only mean that the address belongs to some anonymizer."""


class Anonymizer(Struct, frozen=True):
    """A service that hides a client's location. Each field can be empty, and is safe to display."""

    kind: str
    """Okta's type of the service, such as ``VPN`` or ``TOR``, or the label of an `AnonymizerKind`."""
    operator: str
    """The name of the operator, as Okta (``NORD_VPN``) or other evidence names it."""

    def detailed(self) -> str:
        """Return kind and operator: ``VPN (NORD_VPN)``."""
        if self.kind and self.operator:
            return f"{self.kind} ({self.operator})"
        return self.kind or self.operator

    def name(self) -> str:
        """Return the name for a sentence: ``NordVPN``, ``a VPN``."""
        if not self.operator:
            return _KINDS.get(self.kind.upper()) or f"a {self.kind}"
        if self.operator in _OPERATORS:
            return _OPERATORS[self.operator]
        if not _CONSTANT(self.operator):
            return self.operator
        words = [word if word == "VPN" else word.capitalize() for word in self.operator.split("_")]
        return " ".join(words).replace(" VPN", "VPN")


def anonymizers_of(alert: Mapping[str, Any]) -> list[Anonymizer]:
    """Return the distinct anonymizers behind an alert's address. If Okta doesn't name the worst one, it comes first.

    Empty if the address is only marked as a proxy.
    """
    named = read_anonymizers(alert["context"])
    kind, operator = (_text(alert.get(name)) for name in ("anonymizer", "operator"))
    operators = [anonymizer.operator for anonymizer in named]
    is_known = operator in operators if operator else bool(named) or kind in _UNSPECIFIC
    return named if is_known else [Anonymizer(_LABELS.get(kind, kind), operator), *named]


def read_anonymizers(context: Any) -> list[Anonymizer]:
    """Return the distinct anonymizers that Okta names, without corporate VPNs, which Okta marks as not anonymous."""
    security = inside(context, "security_context")
    debug = inside(context, "debug_context", "debugData")
    categories = inside(security, "ipDetails", "ipServiceCategories")
    details = SecurityContext(
        ipDetails=IpDetails(ipServiceCategories=categories),
        associatedProxies=inside(security, "associatedProxies"),
    )
    data = DebugData(tunnels=inside(debug, "tunnels"), associatedProxies=inside(debug, "associatedProxies"))
    services = [
        *(service for service in service_categories(details) if service.get("isAnonymous") is not False),
        *(tunnel for tunnel in tunnels(data) if tunnel.get("anonymous") is not False),
        *({"operator": operator} for operator in associated_proxies(details, data)),
    ]
    found = (Anonymizer(_text(service.get("type")), _text(service.get("operator"))) for service in services)
    named = (anonymizer for anonymizer in found if anonymizer.kind or anonymizer.operator)
    return list(dict.fromkeys(named))[:_MAX_NAMED]


def _text(value: Any) -> str:
    return harmless(value, _LONGEST) if value else ""
