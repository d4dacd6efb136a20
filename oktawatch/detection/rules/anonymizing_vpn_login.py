"""Sign-ins from anonymizing proxies."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.anonymizer_signals import ALL_SIGNALS, AnonymizerSignals
from oktawatch.detection.evidence import Classification, NetworksSource
from oktawatch.detection.evidence_severity import GradedSeverity
from oktawatch.detection.network_text import network_text
from oktawatch.detection.networks import NO_NETWORKS, Networks
from oktawatch.detection.past_rule import PastRule
from oktawatch.model.anonymizer_kind import Anonymizer, AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.match import SUCCESSES
from oktawatch.model.person_past import Past
from oktawatch.model.severity import Severity

_LISTED = (AnonymizerKind.RELAY, "iCloud Private Relay")
"""The kind and operator of addresses in ``relay_networks``."""


_UNKNOWN = Anonymizer(AnonymizerKind.UNKNOWN, None)


@dataclass(frozen=True, kw_only=True)
class AnonymizingVpnLogin(PastRule):
    """A sign-in from an address that Okta marks as an anonymizer."""

    id: ClassVar[str] = "Okta.Anonymizing.VPN.Login"
    name: ClassVar[str] = "Okta Sign-In from VPN Anonymizer"
    description: ClassVar[str] = (
        "Somebody signed in, or tried to, through a VPN, Tor or another service that hides their location. "
        "Okta marks the address in securityContext.isProxy, or names an anonymous service in tunnels, "
        "ipServiceCategories or associatedProxies. Failed sign-ins match as well."
    )
    runbook: ClassVar[str] = (
        "Ask the user over another channel whether it was them and why their address is hidden. If it was not "
        "them, end the sessions, reset password and factors, and review what the session did. A network zone "
        "that blocks anonymizers stops further attempts."
    )
    false_positives: ClassVar[str] = (
        "Private VPNs on phones, browsers with a built-in VPN, travel. iCloud Private Relay is INFO."
    )
    mitre: ClassVar[tuple[str, ...]] = ("TA0006:T1556",)
    references: ClassVar[tuple[str, ...]] = (
        "https://sec.okta.com/articles/2023/08/cross-tenant-impersonation-prevention-and-detection",
    )
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start",)
    on_by_default: ClassVar[bool] = True

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(hours=6)
    relay_networks: Networks = NO_NETWORKS
    """Additional relay ranges: a file with one CIDR per line, or Apple's CSV."""
    signals: AnonymizerSignals = ALL_SIGNALS
    """The anonymizer marks that count. The original published rule uses only ``is_proxy``."""
    severity_from_evidence: bool = True
    """Whether the severity depends on the kind of anonymizer, Okta's observations and the person's past.

    If False, a relay is INFO, and any other kind has ``severity``."""

    def matches(self, event: Event) -> bool:
        """Okta marks the client's address as an anonymizer by one of ``signals``."""
        return bool(self.signals.held(event))

    def condition(self, event: Event) -> str:
        """Return the configured marks and those that the event has."""
        return self.signals.condition(event)

    def classify(self, event: Event) -> Classification:
        """Classify the address by all evidence, including ``relay_networks``."""
        if self.relay_networks.empty:
            return self.evidence.classify(event)
        return self.evidence.classify(event, NetworksSource("relay_networks", self.relay_networks, *_LISTED))

    @property
    def needs_past(self) -> bool:
        """Whether the severity depends on the person's past."""
        return self.severity_from_evidence and self.evidence.severities.needs_past

    def graded(self, event: Event, past: Past) -> GradedSeverity:
        """Return the severity. It depends on the past only if ``severity_from_evidence`` is True."""
        anonymizer = self.classify(event).anonymizer or _UNKNOWN
        if self.severity_from_evidence:
            return self.evidence.severities.grade(event, anonymizer, self.severity, past)
        # A relay is an ordinary setting of phones.
        is_relay = anonymizer.kind is AnonymizerKind.RELAY
        return GradedSeverity(Severity.INFO if is_relay else self.severity, ())

    def title(self, event: Event) -> str:
        """Return the user and the known details of the network."""
        name = event.actor_display_name or "<displayName-not-found>"
        login = event.actor_alternate_id or "alternateId-not-found"
        known = network_text(event, self.classify(event).operator)
        verb = "signed in" if event.outcome_result in SUCCESSES else "tried to sign in"
        title = f"{name} <{login}> {verb} from an anonymizing proxy"
        return f"{title} - {known}" if known else title
