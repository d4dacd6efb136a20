"""Users who connect through a proxy for the first time in a while."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.anonymizer_signals import ALL_SIGNALS, AnonymizerSignals
from oktawatch.detection.first_seen import FirstSeen
from oktawatch.model.event import Event
from oktawatch.model.history import Column
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class FirstProxiedSession(FirstSeen):
    """A user's first sign-in or authentication through a proxy within the window."""

    id: ClassVar[str] = "Okta.First.Proxied.Session"
    name: ClassVar[str] = "First Occurrence of Okta User Session Started via Proxy"
    description: ClassVar[str] = (
        "A user connected through a VPN, Tor or another proxy for the first time in days. This finds a stolen "
        "session that is used through a proxy, and does not alert on people who always work through a VPN. While an "
        "org's history is shorter than the window, every user is new: alerts then have warmup in their context."
    )
    runbook: ClassVar[str] = (
        "Compare device, browser and country with the user's usual ones. Ask the user over another channel. If it "
        "was not them, end the sessions and review what they did."
    )
    false_positives: ClassVar[str] = "A new VPN client, travel, iCloud Private Relay enabled recently."
    mitre: ClassVar[tuple[str, ...]] = ("TA0001:T1078.004", "TA0001:T1133")
    references: ClassVar[tuple[str, ...]] = (
        "https://attack.mitre.org/techniques/T1133/",
        "https://developer.okta.com/docs/reference/api/event-types/",
    )
    event_types: ClassVar[tuple[str, ...]] = (
        "user.session.start",
        "user.authentication.verify",
        "user.authentication.sso",
        "user.authentication.auth_via_mfa",
    )
    column: ClassVar[Column] = "actor_id"

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(days=7)
    window: timedelta = timedelta(days=7)
    signals: AnonymizerSignals = ALL_SIGNALS
    """The anonymizer marks that count. The original published rule uses only ``is_proxy``."""

    def any_true(self) -> tuple[str, ...]:
        """Return the columns of the marks."""
        return self.signals.columns

    def counts(self, key: str) -> bool:
        """The actor is a user, not one of Okta's own actors."""
        return not key.startswith("okta")

    def title(self, event: Event) -> str:
        """Return the user and the address."""
        user = event.actor_alternate_id or event.actor_id
        return (
            f"{user} came through a proxy for the first time in a while (IP={event.client_ip or 'unknown'})"
        )
