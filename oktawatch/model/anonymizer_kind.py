"""The kinds of services that hide where somebody is."""

from enum import StrEnum


class AnonymizerKind(StrEnum):
    """What kind of service an address belongs to. The worst comes first."""

    RESIDENTIAL_PROXY = "residential_proxy"
    """The connections of ordinary people, often without their knowledge, for rent."""
    TOR = "tor"
    PROXY = "proxy"
    COMMERCIAL_VPN = "commercial_vpn"
    UNKNOWN = "unknown"
    """An anonymizer of which no source knows more."""
    HOSTING = "hosting"
    """A data centre: an address where no people live."""
    CORPORATE_VPN = "corporate_vpn"
    """A company's VPN or secure web gateway."""
    RELAY = "relay"
    """A privacy feature of phones and browsers, such as Apple's iCloud Private Relay."""
