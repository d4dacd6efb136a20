"""Classify a client's address: the kind of anonymizer, its operator, and the sources that name them.

The sources are an enrichment in the event, Okta's service categories, tunnels, associated proxies and proxy type, the
configured sources (lists of networks and database files), and Okta's ``isProxy``. Findings are listed in this order. If
the event names too many services, only the worst of these are listed, the worst first. The kind is chosen by the first of
these steps that applies:

1. If sources name services that hide addresses, the kind is the worst of them (the first in `AnonymizerKind`).
2. If Okta names a service and marks it as not anonymous, the kind is that of the service: usually corporate_vpn.
3. If a source places the address in a data centre, the kind is hosting.
4. If only ``isProxy`` marks the address, the kind is proxy.

Steps 3 and 4 come last, because relays and corporate gateways are in data centres, and Okta marks them with ``isProxy``.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from oktawatch.detection.evidence_severity import BUILT_IN_TABLE, SeverityTable
from oktawatch.detection.networks import Networks
from oktawatch.detection.operators import OperatorKinds
from oktawatch.detection.privacy_records import ipinfo_kinds
from oktawatch.model.anonymizer_kind import Anonymizer, AnonymizerKind
from oktawatch.model.anonymizers import (
    associated_proxies,
    names_no_service,
    service_categories,
    tunnels,
)
from oktawatch.model.event import Event
from oktawatch.model.history import SIGN_IN, HistoryRow
from oktawatch.model.sanitize import clean_text, shorten

_WORST_FIRST = {kind: place for place, kind in enumerate(AnonymizerKind)}
_MARK = "isProxy"
_MOST_FINDINGS = 50
"""The maximum number of listed findings from the event itself. If there are more, the worst are listed.

Findings of the configured sources are always listed."""


class Finding(Struct, frozen=True):
    """One source's statement about an address."""

    source: str
    """A field of the event, or the name of a configured source."""
    kind: AnonymizerKind
    operator: str | None = None
    anonymous: bool = True
    """False for a service that Okta calls not anonymous."""


class Classification(Struct, frozen=True):
    """The result of all sources for an address."""

    kind: AnonymizerKind | None = None
    """None if no source has a finding."""
    operator: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def anonymizer(self) -> Anonymizer | None:
        """The kind and the operator. None if no source has a finding."""
        return Anonymizer(self.kind, self.operator) if self.kind else None


class EvidenceSource(Protocol):
    """A configured source."""

    @property
    def name(self) -> str:
        """The name in alerts and in `oktawatch evidence list`."""

    @property
    def contents(self) -> str:
        """A description of the contents, such as the number of networks."""

    @property
    def size(self) -> int:
        """The number of entries, at least roughly. 0 for an empty source."""

    def find(self, address: str) -> Sequence[Finding]:
        """Return the findings for an address."""


class NetworksSource(Struct, frozen=True):
    """A list of networks of one kind and, if it is known, one operator."""

    name: str
    networks: Networks
    kind: AnonymizerKind
    operator: str | None = None

    @property
    def contents(self) -> str:
        """The number of networks, as text."""
        return f"{self.size:,} network{'' if self.size == 1 else 's'}"

    @property
    def size(self) -> int:
        """The number of networks."""
        return self.networks.size

    def find(self, address: str) -> Sequence[Finding]:
        """Return the findings for an address."""
        return (Finding(self.name, self.kind, self.operator),) if address in self.networks else ()


class Evidence:
    """Classifies addresses by all sources of evidence."""

    def __init__(
        self,
        operators: Mapping[str, AnonymizerKind] = MappingProxyType({}),
        severities: SeverityTable = BUILT_IN_TABLE,
    ) -> None:
        """``operators`` are the configured entries, which override the built-in table."""
        self._kind_of = OperatorKinds(operators).kind_of
        self.severities = severities
        self.sources: tuple[EvidenceSource, ...] = ()
        """The configured sources, empty until they are loaded. A reload replaces the whole tuple."""

    def kind_of(self, operator: str | None) -> AnonymizerKind:
        """Return the kind of an operator by its name alone, or UNKNOWN."""
        return self._kind_of(operator, None) or AnonymizerKind.UNKNOWN

    def classify(self, event: Event, *more: EvidenceSource) -> Classification:
        """Classify an event's client address. ``more`` contains additional sources of the calling rule."""
        named = list(dict.fromkeys([*_enriched(event), *self._named_by_okta(event)]))
        marks = [Finding(_MARK, AnonymizerKind.PROXY)] if event.is_proxy is True else []
        most_named = _MOST_FINDINGS - len(marks)
        if len(named) > most_named:
            named = sorted(named, key=_worst_first)[:most_named]
        configured: list[Finding] = []
        if address := event.client_ip:
            for source in (*self.sources, *more):
                configured += source.find(address)
        findings = tuple(dict.fromkeys([*named, *configured, *marks]))
        worst = min(findings, key=_worst_first, default=None)
        return Classification(worst.kind, worst.operator, findings) if worst else Classification()

    def anonymizer_of(self, row: HistoryRow) -> Anonymizer | None:
        """Classify the address of a sign-in with an anonymizer mark. Return None for any other event.

        Unmarked sign-ins are not classified, because each would take a search of all sources.
        """
        is_marked_sign_in = row.is_anonymized and row.event_type == SIGN_IN
        return self.classify(row.full_event()).anonymizer if is_marked_sign_in else None

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
        """Yield the finding for a service. Only an explicit ``anonymous: false`` marks it as not anonymous."""
        name = service.get("operator")
        operator = shorten(clean_text(name)) if isinstance(name, str) and name else None
        if anonymous is False:
            kind = self._kind_of(operator, None) or AnonymizerKind.CORPORATE_VPN
        else:
            kind = self._kind_of(operator, service.get("type")) or AnonymizerKind.UNKNOWN
        yield Finding(source, kind, operator, anonymous=anonymous is not False)


def _enriched(event: Event) -> Iterator[Finding]:
    """Yield the findings of an enrichment. Its key ``client.ipAddress`` contains a dot, and is not a path."""
    found: Any = event.p_enrichment
    for key in ("ipinfo_privacy", "client.ipAddress"):
        found = found.get(key) if isinstance(found, dict) else None
    for kind, operator in ipinfo_kinds(found):
        yield Finding("ipinfo_privacy", kind, operator)


def _worst_first(finding: Finding) -> tuple[bool, bool, bool, int, bool]:
    """Return the sort key that orders findings by the steps in the module's docstring. The first one decides."""
    return (
        finding.source == _MARK,
        finding.kind is AnonymizerKind.HOSTING,
        not finding.anonymous,
        _WORST_FIRST[finding.kind],
        finding.operator is None,
    )
