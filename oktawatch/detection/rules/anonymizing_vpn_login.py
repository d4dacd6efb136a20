"""Sign-ins from anonymizing proxies."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from oktawatch.detection.networks import NO_NETWORKS, Networks
from oktawatch.detection.relay import enriched_service, relay_service
from oktawatch.detection.rule import Rule
from oktawatch.model.event import Event
from oktawatch.model.privacy import means_nothing
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class AnonymizingVpnLogin(Rule):
    """A sign-in whose client address Okta calls an anonymizing proxy."""

    id: ClassVar[str] = "Okta.Anonymizing.VPN.Login"
    name: ClassVar[str] = "Okta Sign-In from VPN Anonymizer"
    description: ClassVar[str] = (
        "Somebody signed in, or tried to, through a VPN, Tor or another service that hides where they are. "
        "Okta marks such an address in securityContext.isProxy. Failures match as well as successes."
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

    def matches(self, event: Event) -> bool:
        """Okta says that the address is a proxy; JSON's true, nothing that looks like it."""
        return event.is_proxy is True

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
        title = f"{name} <{login}> attempted to sign in from an anonymizing proxy"
        return f"{title} - {known}" if known else title

    def context(self, event: Event) -> dict[str, Any]:
        """Everything about the sign-in, each part there even where the event has none."""
        body = event.body()
        actor = _object(body, "actor")
        return {
            "event_type": _string(body, "eventType"),
            "severity": _string(body, "severity"),
            "actor": actor,
            "client": _object(body, "client"),
            "request": _object(body, "request"),
            "outcome": _object(body, "outcome"),
            "target": _list(body, "target"),
            "debug_context": _object(body, "debugContext"),
            "authentication_context": _object(body, "authenticationContext"),
            "security_context": _object(body, "securityContext"),
            "ips": addresses(body),
            "displayName": _string(actor, "displayName"),
            "alternateId": _string(actor, "alternateId"),
        }


def addresses(body: dict[str, Any]) -> list[str]:
    """List every address in an event: the client's, then the request's chain, each once."""
    chain = _list(_object(body, "request"), "ipChain")
    found = [
        _string(_object(body, "client"), "ipAddress"),
        *(_string(hop, "ip") for hop in chain if isinstance(hop, dict)),
    ]
    return list(dict.fromkeys(address for address in found if not means_nothing(address)))


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []


def _string(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""
