"""Critical operations close to a sign-in from a new place and device, before or after it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.event_types import EventTypes
from oktawatch.detection.windows import PairInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity

_SIGN_IN = "user.session.start"

_OPERATIONS = EventTypes(
    (
        "policy.rule.add",
        "policy.rule.update",
        "policy.rule.delete",
        "policy.rule.deactivate",
        "policy.lifecycle.create",
        "policy.lifecycle.update",
        "policy.lifecycle.delete",
        "policy.lifecycle.deactivate",
        "network_zone.rule.disabled",
        "zone.update",
        "zone.deactivate",
        "zone.delete",
        "system.api_token.create",
        "system.api_token.revoke",
        "application.policy.sign_on.update",
        "application.policy.sign_on.rule.delete",
        "user.mfa.factor.deactivate",
        "user.mfa.factor.reset_all",
        "user.mfa.factor.suspend",
        "system.mfa.factor.deactivate",
        "user.mfa.attempt_bypass",
    )
)


@dataclass(frozen=True, kw_only=True)
class NewDeviceCriticalOperation(PairInWindow):
    """A sign-in from a new place on a new device, and a critical operation."""

    id: ClassVar[str] = "Okta.New.Device.Critical.Operation"
    name: ClassVar[str] = "New Device/Location sign-in along with critical operation"
    description: ClassVar[str] = (
        "A user signed in from a country, a location and a device that Okta had never seen for them. Within an "
        "hour, policies, network zones, API tokens or factors were changed from the same account and address."
    )
    runbook: ClassVar[str] = (
        "Ask the user over another channel. If it was not them, end the sessions, undo the change, and review "
        "every change of that hour: a weakened policy may prepare the next step."
    )
    false_positives: ClassVar[str] = "An administrator who travels with a new laptop."
    mitre: ClassVar[tuple[str, ...]] = ("TA0001:T1078", "TA0003:T1556")
    references: ClassVar[tuple[str, ...]] = (
        "https://attack.mitre.org/techniques/T1078/",
        "https://attack.mitre.org/techniques/T1556/",
    )
    event_types: ClassVar[tuple[str, ...]] = (_SIGN_IN,)
    column: ClassVar[Column] = "actor_id"
    keyed_by: ClassVar[tuple[str, ...]] = ("actor_id", "client_ip")

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=1)
    behaviours: tuple[str, ...] = ("New Country", "New Geo-Location", "New Device")
    """Behaviours of the sign-in. Okta must have observed all of them."""
    operations: EventTypes = _OPERATIONS
    """Event types of critical operations."""

    def needed_types(self) -> tuple[str, ...]:
        """Return the event types of the operations and the sign-in."""
        return (*self.event_types, *self.operations)

    def first(self, row: HistoryRow) -> bool:
        """A sign-in with all required behaviours succeeded."""
        return (
            row.event_type == _SIGN_IN
            and row.outcome == "SUCCESS"
            and row.behaviours is not None
            and row.observed().issuperset(self.behaviours)
        )

    def second(self, row: HistoryRow) -> bool:
        """A critical operation succeeded."""
        return row.outcome == "SUCCESS" and row.event_type in self.operations

    def title(self, event: Event) -> str:
        """Return the user and the address."""
        user = event.actor_alternate_id or event.actor_id
        return f"{user} made a critical change and signed in from somewhere new (IP={event.client_ip})"
