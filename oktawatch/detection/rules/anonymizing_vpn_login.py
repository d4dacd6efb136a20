"""Sign-ins from anonymizing proxies."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.anonymizer_signals import ALL_SIGNALS, AnonymizerSignals
from oktawatch.detection.icloud_relay import enriched_service, relay_service
from oktawatch.detection.networks import NO_NETWORKS, Networks
from oktawatch.detection.rule import EventRule
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class AnonymizingVpnLogin(EventRule):
    """A sign-in from an address that Okta marks as an anonymizer's."""

    id: ClassVar[str] = "Okta.Anonymizing.VPN.Login"
    name: ClassVar[str] = "Okta Sign-In from VPN Anonymizer"
    description: ClassVar[str] = (
        "Somebody signed in, or tried to, through a VPN, Tor or another service that hides where they are. "
        "Okta marks the address in securityContext.isProxy, or names an anonymous service behind it in tunnels, "
        "ipServiceCategories or associatedProxies. Failures match as well as successes."
    )
    runbook: ClassVar[str] = (
        "Ask the user, over a channel other than the one that signed in, whether it was them and why the address "
        "is hidden. If not: end the sessions, reset password and factors, and look for what the session did. "
        "A network zone that blocks anonymizers stops the next attempt."
    )
    false_positives: ClassVar[str] = (
        "Private VPNs on phones, browsers with a built-in VPN, travellers; iCloud Private Relay, which is INFO."
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
    """Ranges of relays beside those that Okta names: one CIDR a line, or Apple's CSV."""
    signals: AnonymizerSignals = ALL_SIGNALS
    """Which of Okta's signals count. ``is_proxy`` alone is the published rule."""

    def matches(self, event: Event) -> bool:
        """Return whether one of the signals holds of the client's address."""
        return bool(self.signals.held(event))

    def condition(self, event: Event) -> str:
        """Return the signals that count, and those that hold."""
        held = ", ".join(self.signals.held(event)) or "none"
        return f"Okta marks the address as an anonymizer's by one of: {', '.join(self.signals)}; it does by: {held}"

    def severity_of(self, event: Event) -> Severity:
        """Demote Apple's relay: an ordinary phone setting."""
        return Severity.INFO if relay_service(event, self.relay_networks) else self.severity

    def title(self, event: Event) -> str:
        """Who, and which network, as far as it is known."""
        name = event.actor_display_name or "<displayName-not-found>"
        login = event.actor_alternate_id or "alternateId-not-found"
        parts = {
            "IP": event.client_ip,
            "ASO": event.as_org,
            "ISP": event.isp,
            "Domain": event.domain,
            "Service": relay_service(event, self.relay_networks) or enriched_service(event),
        }
        known = ", ".join(f"{label}={value}" for label, value in parts.items() if value)
        verb = "signed in" if event.outcome_result == "SUCCESS" else "tried to sign in"
        title = f"{name} <{login}> {verb} from an anonymizing proxy"
        return f"{title} - {known}" if known else title
