"""The kinds of services that hide a client's location."""

from enum import StrEnum
from typing import NamedTuple


class AnonymizerKind(StrEnum):
    """The kind of service that an address belongs to, from worst to best."""

    RESIDENTIAL_PROXY = "residential_proxy"
    """Rented home internet connections, often without the knowledge of their owners."""
    TOR = "tor"
    PROXY = "proxy"
    COMMERCIAL_VPN = "commercial_vpn"
    UNKNOWN = "unknown"
    """An anonymizer of unknown type."""
    HOSTING = "hosting"
    """An address in a data centre."""
    CORPORATE_VPN = "corporate_vpn"
    """A company's VPN or secure web gateway."""
    RELAY = "relay"
    """A privacy feature of phones and browsers, such as Apple's iCloud Private Relay."""

    @property
    def label(self) -> str:
        """The kind in plain words: ``Tor``, ``commercial VPN``."""
        return _LABELS.get(self, self.value)


_LABELS = {
    AnonymizerKind.RESIDENTIAL_PROXY: "residential proxy",
    AnonymizerKind.TOR: "Tor",
    AnonymizerKind.COMMERCIAL_VPN: "commercial VPN",
    AnonymizerKind.UNKNOWN: "unknown anonymizer",
    AnonymizerKind.CORPORATE_VPN: "corporate VPN",
}


class Anonymizer(NamedTuple):
    """The service that an address belongs to."""

    kind: AnonymizerKind
    operator: str | None
