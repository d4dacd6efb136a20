"""Requests from anonymizing proxies that Okta itself blocked."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.anonymizer_signals import ALL_SIGNALS, AnonymizerSignals
from oktawatch.detection.network_text import network_text
from oktawatch.detection.rule import EventRule, Key
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class BlockedAnonymizer(EventRule):
    """A request from an anonymizer that a network zone or another block rule of Okta denied."""

    id: ClassVar[str] = "Okta.Request.Blocked.Anonymizer"
    name: ClassVar[str] = "Okta Request from Anonymizer Blocked"
    description: ClassVar[str] = (
        "Okta denied a request because of a block rule, such as a network zone, and marks its address as an "
        "anonymizer. Where a zone blocks anonymizers, sign-ins through them don't begin, so other rules don't see "
        "these attempts. All requests of an address within the dedup period are one alert."
    )
    runbook: ClassVar[str] = (
        "Nobody got in, so there is no hurry. Look at the number of requests and at other alerts and sign-ins of the "
        "same address and network ('oktawatch ip'). If sign-ins of the same people failed from elsewhere at that "
        "time, treat it as an attack on these accounts. If an employee was locked out, help them turn off the service, "
        "or allow it in the network zone."
    )
    false_positives: ClassVar[str] = (
        "Employees with a private VPN or a browser with a built-in VPN, and scanners that visit every sign-in page."
    )
    mitre: ClassVar[tuple[str, ...]] = ("TA0001:T1078.004", "TA0006:T1110")
    references: ClassVar[tuple[str, ...]] = (
        "https://developer.okta.com/docs/reference/api/event-types/",
        "https://help.okta.com/oie/en-us/content/topics/security/network/about-enhanced-dynamic-zones.htm",
    )
    event_types: ClassVar[tuple[str, ...]] = ("security.request.blocked",)

    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=24)
    signals: AnonymizerSignals = ALL_SIGNALS
    """The anonymizer marks that count."""

    def matches(self, event: Event) -> bool:
        """Okta marks the client's address as an anonymizer by one of ``signals``."""
        return bool(self.signals.held(event))

    def condition(self, event: Event) -> str:
        """Return the configured marks and those that the event has."""
        return self.signals.condition(event)

    def dedup(self, event: Event) -> Key:
        """Return the address alone, because most blocked requests come before a sign-in and have no user."""
        return (event.client_ip,)

    def title(self, event: Event) -> str:
        """Return the user if Okta knows one, and the known details of the network."""
        user = f" of {event.actor_alternate_id}" if event.actor_id and event.actor_alternate_id else ""
        title = f"Okta blocked a request{user} from an anonymizing proxy"
        known = network_text(event, self.classify(event).operator)
        return f"{title} - {known}" if known else title
