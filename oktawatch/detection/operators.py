"""Map the operators that Okta names to kinds of anonymizers.

The names come from Okta's help page on enhanced dynamic zones, from the examples in Okta's event schemas, and from the
providers that Okta's data vendor is known to track. The kinds follow the providers' descriptions of their services.

Okta adds operators every month. Entries of the configuration (``[evidence.operators]``) override this table. For an
operator that is in neither, the ``type`` in Okta's event determines the kind.

- https://help.okta.com/oie/en-us/content/topics/security/network/about-enhanced-dynamic-zones.htm
- https://github.com/okta/okta-developer-docs (examples of ``tunnels`` and ``associatedProxies``)
"""

from collections.abc import Mapping
from types import MappingProxyType

from oktawatch.model.anonymizer_kind import AnonymizerKind

_NAMES = {
    AnonymizerKind.RELAY: "APPLE_ICLOUD_RELAY GOOGLE",
    AnonymizerKind.CORPORATE_VPN: """
        CATO CISCO_ANYCONNECT CISCO_UMBRELLA FORCEPOINT FORTINET GLOBALPROTECT IBOSS MENLO NETSKOPE PERIMETER81 PRISMA
        ZSCALER
    """,
    AnonymizerKind.COMMERCIAL_VPN: """
        AVAST AVG CYBERGHOST EXPRESS EXPRESSVPN HIDEMYASS HOTSPOT HOTSPOT_SHIELD IPVANISH MULLVAD NORD NORDVPN OPERA
        PRIVATE_INTERNET_ACCESS PROTON PROTONVPN PSIPHON PURE PUREVPN SAMSUNG SURFSHARK SYMANTEC TRENDMICRO TUNNELBEAR
        ULTRASURF VYPR WARP WINDSCRIBE
    """,
    AnonymizerKind.TOR: "ANONYMIZER_TOR TOR",
    AnonymizerKind.RESIDENTIAL_PROXY: """
        911 922 ABC ASOCKS BRIGHTDATA GEONODE HOLA IPIDEA IPROYAL LUMINATI MASSIVE NETNUT OCULUS OXYLABS PACKETSTREAM
        PROXYRACK RAYOBYTE SMARTPROXY SOAX
    """,
}
_TYPES = MappingProxyType(
    {
        "VPN": AnonymizerKind.COMMERCIAL_VPN,
        "PROXY": AnonymizerKind.PROXY,
        "TOR": AnonymizerKind.TOR,
        "RESIDENTIAL PROXY": AnonymizerKind.RESIDENTIAL_PROXY,
        # The exits are the connections of people who are paid for sharing them.
        "BLOCKCHAIN VPN": AnonymizerKind.RESIDENTIAL_PROXY,
    }
)
"""The kind for each ``type`` in Okta's events, in upper case."""


def _stem(operator: str) -> str:
    """Return an operator's name in upper case, without a final ``_VPN`` or ``_PROXY``, and without underscores."""
    name = operator.upper()
    for suffix in ("_VPN", "_PROXY"):
        name = name.removesuffix(suffix)
    return name.replace("_", "")


OPERATOR_KINDS = MappingProxyType(
    {_stem(name): kind for kind, names in _NAMES.items() for name in names.split()}
)
"""The built-in table."""


class OperatorKinds:
    """Finds the kind of an operator: in the configuration, then in the built-in table, then by Okta's ``type``."""

    def __init__(self, configured: Mapping[str, AnonymizerKind] = MappingProxyType({})) -> None:
        self._configured = {name.upper(): kind for name, kind in configured.items()}

    def kind_of(self, operator: str | None, service_type: object) -> AnonymizerKind | None:
        """Return the kind of an operator, or None if neither the name nor ``service_type`` is known."""
        if operator:
            kind = self._configured.get(operator.upper()) or OPERATOR_KINDS.get(_stem(operator))
            if kind:
                return kind
        return _TYPES.get(service_type.upper()) if isinstance(service_type, str) else None
