"""Kinds of services behind a client's address."""

from enum import StrEnum
from typing import NamedTuple


class AnonymizerKind(StrEnum):
    """Kinds of services behind a client's address, ordered from worst to best."""

    RESIDENTIAL_PROXY = "residential_proxy"
    """Other people's home connections, rented out, often without their knowledge."""
    TOR = "tor"
    """An exit of the Tor network."""
    PROXY = "proxy"
    """A public proxy, or an address that Okta marks without naming a service."""
    COMMERCIAL_VPN = "commercial_vpn"
    """A VPN that anybody can buy or use."""
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
    """The service behind a client's address."""

    kind: AnonymizerKind
    operator: str | None
