"""Read from an alert's context what kind of anonymizer Okta saw behind the address.

Okta names it in up to two places: ``ipServiceCategories`` of securityContext, and ``tunnels`` of debugData,
a text of JSON. What stands there was typed by a stranger.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from oktawatch.notify.json_values import inside, objects
from oktawatch.notify.text import harmless

_LONGEST = 40  # characters of a kind or an operator
_MOST = 5
_CONSTANT = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)*").fullmatch
_KINDS = {"VPN": "a VPN", "TOR": "Tor", "PROXY": "a proxy"}
_OPERATORS = {"APPLE_ICLOUD_RELAY_PROXY": "iCloud Private Relay"}


class Anonymizer(Struct, frozen=True):
    """One service that hides where somebody is; either part can be empty. Both are harmless."""

    kind: str
    """``VPN``, ``TOR``, … as Okta writes it."""
    operator: str
    """``NORD_VPN``, … as Okta writes it."""

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
    """Return the anonymizers that an alert's context names, each once."""
    categories = inside(context, "security_context", "ipDetails", "ipServiceCategories")
    tunnels = inside(context, "debug_context", "debugData", "tunnels")
    if isinstance(tunnels, str):
        try:
            tunnels = msgspec.json.decode(tunnels)
        except msgspec.DecodeError:
            tunnels = []
    found: dict[Anonymizer, None] = {}
    for service in [*objects(categories), *objects(tunnels)]:
        one = Anonymizer(_text(service.get("type")), _text(service.get("operator")))
        if one.kind or one.operator:
            found[one] = None
    return list(found)[:_MOST]


def _text(value: Any) -> str:
    return harmless(value, _LONGEST) if value else ""
