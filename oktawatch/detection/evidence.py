"""Evidence about a client's address: which kind of anonymizer it is, who operates it, and which source says so.

Sources, in the order in which they are listed: an enrichment in the event, Okta's service categories, tunnels and
associated proxies, and the configuration's sources (lists of networks, database files). They are combined as follows:

1. Of the services that hide addresses, the worst one counts, whoever names it: residential_proxy, tor, proxy,
   commercial_vpn, unknown, corporate_vpn, relay. So a relay is a relay only if nothing else is named for the address.
2. If no such service is named, a service that Okta calls not anonymous counts, such as a corporate VPN.
3. If none is named either, an address in a data centre is hosting.
4. If nothing of this is known, an address that Okta marks with ``isProxy`` is a proxy.

Hosting and ``isProxy`` name no service: relays and corporate gateways are in data centres and are marked, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from oktawatch.detection.networks import Networks
from oktawatch.detection.operators import OperatorKinds
from oktawatch.detection.privacy_records import ipinfo_kinds
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.anonymizers import (
    associated_proxies,
    names_no_service,
    service_categories,
    tunnels,
)
from oktawatch.model.event import Event
from oktawatch.model.sanitize import clean_text, shorten
from oktawatch.model.severity import Severity

_WORST_FIRST = {kind: place for place, kind in enumerate(AnonymizerKind)}
_MARK = "isProxy"
_MOST_FINDINGS = 50
"""The maximum number of findings per address: strangers write a part of an event."""


class Finding(Struct, frozen=True):
    """One source's statement about an address."""

    source: str
    """An enrichment's or Okta's field, or the name of a configured source."""
    kind: AnonymizerKind
    operator: str | None = None
    anonymous: bool = True
    """False for a service that Okta calls not anonymous."""


class Classification(Struct, frozen=True):
    """What all sources together say about an address."""

    kind: AnonymizerKind | None = None
    """None: no source says anything."""
    operator: str | None = None
    findings: tuple[Finding, ...] = ()


class EvidenceSource(Protocol):
    """A configured source."""

    @property
    def name(self) -> str:
        """The name in alerts and in `oktawatch evidence list`."""

    @property
    def contents(self) -> str:
        """What the source has, such as its number of networks."""

    def find(self, address: str) -> Sequence[Finding]:
        """Return what the source says about an address."""


class NetworksSource(Struct, frozen=True):
    """A list of networks that belong to one operator or kind."""

    name: str
    networks: Networks
    kind: AnonymizerKind
    operator: str | None = None

    @property
    def contents(self) -> str:
        """The number of networks."""
        return f"{self.networks.size} network{'' if self.networks.size == 1 else 's'}"

    def find(self, address: str) -> Sequence[Finding]:
        """Return what the source says about an address."""
        return (Finding(self.name, self.kind, self.operator),) if address in self.networks else ()


class Evidence:
    """The sources of evidence, and what follows from them."""

    def __init__(
        self,
        operators: Mapping[str, AnonymizerKind] = MappingProxyType({}),
        severities: Mapping[AnonymizerKind, Severity] = MappingProxyType({}),
    ) -> None:
        """``operators``, ``severities``: the configuration's entries. They override the shipped tables."""
        self._kind_of = OperatorKinds(operators).kind_of
        self.severities = severities
        self.sources: tuple[EvidenceSource, ...] = ()
        """The configured sources, once they are loaded. Replaced as a whole when they are loaded again."""

    def classify(self, event: Event, *more: EvidenceSource) -> Classification:
        """Classify an event's client address. ``more``: sources of one rule alone."""
        findings = [*_enriched(event), *self._named_by_okta(event)]
        if address := event.client_ip:
            for source in (*self.sources, *more):
                findings += source.find(address)
        if event.is_proxy is True:
            findings.append(Finding(_MARK, AnonymizerKind.PROXY))
        findings = list(dict.fromkeys(findings))[:_MOST_FINDINGS]
        worst = _worst(findings)
        return Classification(worst.kind, worst.operator, tuple(findings)) if worst else Classification()

    def _named_by_okta(self, event: Event) -> Iterator[Finding]:
        context, data = event.securityContext, event.debug_data
        if not names_no_service(context, data):
            for service in service_categories(context):
                yield from self._service("ipServiceCategories", service, service.get("isAnonymous"))
            for tunnel in tunnels(data):
                yield from self._service("tunnels", tunnel, tunnel.get("anonymous"))
            for operator in associated_proxies(context, data):
                yield from self._service("associatedProxies", {"operator": operator, "type": "Proxy"}, None)
        if data.proxyType == "tor":
            yield Finding("proxyType", AnonymizerKind.TOR)

    def _service(self, source: str, service: Mapping[str, Any], anonymous: Any) -> Iterator[Finding]:
        """Return the finding of a service. Okta's ``anonymous: false`` is what makes it not anonymous."""
        name = service.get("operator")
        operator = shorten(clean_text(name)) if isinstance(name, str) and name else None
        if anonymous is False:
            kind = self._kind_of(operator, None) or AnonymizerKind.CORPORATE_VPN
        else:
            kind = self._kind_of(operator, service.get("type")) or AnonymizerKind.UNKNOWN
        yield Finding(source, kind, operator, anonymous=anonymous is not False)


def _enriched(event: Event) -> Iterator[Finding]:
    """Return the findings of an enrichment. Its key ``client.ipAddress`` is literal, with a dot."""
    found: Any = event.p_enrichment
    for key in ("ipinfo_privacy", "client.ipAddress"):
        found = found.get(key) if isinstance(found, dict) else None
    for kind, operator in ipinfo_kinds(found):
        yield Finding("ipinfo_privacy", kind, operator)


def _worst(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that counts, by the order at the top of this module."""
    services = [finding for finding in findings if not _names_no_service(finding)]
    anonymous = [finding for finding in services if finding.anonymous]
    hosting = [finding for finding in findings if finding.kind is AnonymizerKind.HOSTING]
    counting = anonymous or services or hosting or findings
    return min(counting, key=lambda one: (_WORST_FIRST[one.kind], one.operator is None), default=None)


def _names_no_service(finding: Finding) -> bool:
    return finding.kind is AnonymizerKind.HOSTING or finding.source == _MARK
