"""Critical operations by somebody who just came from somewhere new."""

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
        "Within an hour somebody signed in from a country, a place and a device that Okta never saw of them, and "
        "changed policies, network zones, API tokens or somebody's factors from the same address."
    )
    runbook: ClassVar[str] = (
        "Ask the actor over another channel. If it was not them: end the sessions, undo the change, and look at "
        "every change of that hour; a weakened policy is there for what comes next."
    )
    false_positives: ClassVar[str] = "An administrator on the first day with a new laptop abroad."
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
    """What Okta must have observed of the sign-in, all of it."""
    operations: EventTypes = _OPERATIONS
    """What counts as critical, when it succeeds."""

    def needed_types(self) -> tuple[str, ...]:
        """Name the operations and the sign-in."""
        return (*self.event_types, *self.operations)

    def first(self, row: HistoryRow) -> bool:
        """A sign-in in which everything is new."""
        return (
            row.event_type == _SIGN_IN
            and row.outcome == "SUCCESS"
            and row.behaviours is not None
            and row.observed().issuperset(self.behaviours)
        )

    def second(self, row: HistoryRow) -> bool:
        """A critical operation that succeeded."""
        return row.outcome == "SUCCESS" and row.event_type in self.operations

    def title(self, event: Event) -> str:
        """Who, from where."""
        who = event.actor_alternate_id or event.actor_id
        return f"{who} made a critical change after signing in from somewhere new (IP={event.client_ip})"
