"""Extract the anonymizers behind an address from an alert's context, and name them for people."""

import re
from typing import Any

from msgspec import Struct

from oktawatch.model.anonymizers import associated_proxies, service_categories, tunnels
from oktawatch.model.json_values import inside
from oktawatch.model.wire import DebugData, IpDetails, SecurityContext
from oktawatch.notify.text import harmless

_LONGEST = 40  # characters of a kind or an operator
_MOST = 5
_CONSTANT = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)*").fullmatch
_KINDS = {"VPN": "a VPN", "TOR": "Tor", "PROXY": "a proxy"}
_OPERATORS = {"APPLE_ICLOUD_RELAY_PROXY": "iCloud Private Relay"}


class Anonymizer(Struct, frozen=True):
    """A service that hides a client's location. Each field can be empty, and is safe to display."""

    kind: str
    """Okta's type of the service, such as ``VPN`` or ``TOR``."""
    operator: str
    """Okta's name of the operator, such as ``NORD_VPN``."""

    def detailed(self) -> str:
        """Return kind and operator as Okta writes them: ``VPN (NORD_VPN)``."""
        if self.kind and self.operator:
            return f"{self.kind} ({self.operator})"
        return self.kind or self.operator

    def name(self) -> str:
        """Return the name for a sentence: ``NordVPN``, ``a VPN``."""
        if not self.operator:
            return _KINDS.get(self.kind.upper(), self.kind)
        if self.operator in _OPERATORS:
            return _OPERATORS[self.operator]
        if not _CONSTANT(self.operator):
            return self.operator
        words = [word if word == "VPN" else word.capitalize() for word in self.operator.split("_")]
        return " ".join(words).replace(" VPN", "VPN")


def read_anonymizers(context: Any) -> list[Anonymizer]:
    """Return the distinct anonymizers in an alert's context. A corporate VPN is not an anonymizer."""
    security = inside(context, "security_context")
    debug = inside(context, "debug_context", "debugData")
    categories = inside(security, "ipDetails", "ipServiceCategories")
    details = SecurityContext(
        ipDetails=IpDetails(ipServiceCategories=categories),
        associatedProxies=inside(security, "associatedProxies"),
    )
    data = DebugData(tunnels=inside(debug, "tunnels"), associatedProxies=inside(debug, "associatedProxies"))
    services = [
        *(one for one in service_categories(details) if one.get("isAnonymous") is not False),
        *(one for one in tunnels(data) if one.get("anonymous") is not False),
        *({"operator": operator} for operator in associated_proxies(details, data)),
    ]
    named = (Anonymizer(_text(one.get("type")), _text(one.get("operator"))) for one in services)
    return list(dict.fromkeys(one for one in named if one.kind or one.operator))[:_MOST]


def _text(value: Any) -> str:
    return harmless(value, _LONGEST) if value else ""
