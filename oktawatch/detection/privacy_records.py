"""Parse records of IP databases: MaxMind's Anonymous IP and IPinfo's privacy detection.

Records are read from database files. A log pipeline can also have added an IPinfo record to an event (``p_enrichment``).

- https://dev.maxmind.com/geoip/docs/databases/anonymous-ip
- https://ipinfo.io/developers/privacy-detection-database
"""

from collections.abc import Iterator
from typing import Any

from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.sanitize import clean_text, shorten

_APPLE_SERVICE = "Apple Private Relay"
_IPINFO = {
    "tor": AnonymizerKind.TOR,
    "proxy": AnonymizerKind.PROXY,
    "vpn": AnonymizerKind.COMMERCIAL_VPN,
    "relay": AnonymizerKind.RELAY,
    "hosting": AnonymizerKind.HOSTING,
}
_MAXMIND = {
    "is_tor_exit_node": AnonymizerKind.TOR,
    "is_residential_proxy": AnonymizerKind.RESIDENTIAL_PROXY,
    "is_public_proxy": AnonymizerKind.PROXY,
    "is_anonymous_vpn": AnonymizerKind.COMMERCIAL_VPN,
    "is_hosting_provider": AnonymizerKind.HOSTING,
}


def ipinfo_kinds(record: Any) -> Iterator[tuple[AnonymizerKind, str | None]]:
    """Yield the kinds of services in an IPinfo record, each with the service's name. Hosting has None instead."""
    if not isinstance(record, dict):
        return
    service = _text(record.get("service"))
    if service == _APPLE_SERVICE:
        yield AnonymizerKind.RELAY, service
        return
    kinds = [kind for name, kind in _IPINFO.items() if _is_set(record.get(name))]
    if service and not kinds:
        kinds = [AnonymizerKind.UNKNOWN]
    for kind in kinds:
        yield kind, None if kind is AnonymizerKind.HOSTING else service


def maxmind_kinds(record: Any) -> Iterator[tuple[AnonymizerKind, str | None]]:
    """Yield the kinds of services in a MaxMind record, each with the provider's name. Hosting has None instead."""
    if not isinstance(record, dict):
        return
    provider = _text(record.get("provider_name"))
    kinds = [kind for name, kind in _MAXMIND.items() if _is_set(record.get(name))]
    if not kinds and _is_set(record.get("is_anonymous")):
        kinds = [AnonymizerKind.UNKNOWN]
    for kind in kinds:
        yield kind, None if kind is AnonymizerKind.HOSTING else provider


def _is_set(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _text(value: Any) -> str | None:
    return shorten(clean_text(value)) if isinstance(value, str) and value else None
