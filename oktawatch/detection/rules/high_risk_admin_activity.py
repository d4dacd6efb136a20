"""Administration in a session with high risk."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.event_types import EventTypes
from oktawatch.detection.windows import PairInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity

_SIGN_INS = {"user.session.start": "SUCCESS", "policy.evaluate_sign_on": "ALLOW"}
"""Event types that have a risk level, each with the outcome of an allowed sign-in."""

_OPERATIONS = EventTypes(
    (
        "iam.role.create",
        "iam.role.permissions.add",
        "user.session.access_admin_app",
        "user.mfa.factor.suspend",
        "user.account.privilege.grant",
        "group.privilege.grant",
        "system.api_token.create",
        "user.session.impersonation.grant",
    )
)


@dataclass(frozen=True, kw_only=True)
class HighRiskAdminActivity(PairInWindow):
    """An administrator's operation and a high-risk sign-in in one session."""

    id: ClassVar[str] = "Okta.High.Risk.Admin.Activity"
    name: ClassVar[str] = "High-Risk Admin Activity"
    description: ClassVar[str] = (
        "A session was allowed although Okta rated its risk HIGH. Within an hour before or after, it was used for "
        "an administrator's operation, such as granting a role, creating an API token, opening the admin console or "
        "impersonating a user."
    )
    runbook: ClassVar[str] = (
        "Ask the administrator over another channel. If it was not them, revoke tokens and grants of that hour "
        "first, since they outlive the session; then end the session and undo the operation."
    )
    false_positives: ClassVar[str] = "Administrators who travel or use a new device."
    mitre: ClassVar[tuple[str, ...]] = ("TA0003:T1098",)
    references: ClassVar[tuple[str, ...]] = ("https://attack.mitre.org/techniques/T1098/",)
    event_types: ClassVar[tuple[str, ...]] = tuple(_SIGN_INS)
    column: ClassVar[Column] = "actor_id"
    keyed_by: ClassVar[tuple[str, ...]] = ("actor_id", "client_ip", "external_session_id")

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=1)
    operations: EventTypes = _OPERATIONS
    """Event types of administrators' operations."""

    def needed_types(self) -> tuple[str, ...]:
        """Return the event types of the operations and the sign-ins."""
        return (*self.event_types, *self.operations)

    def first(self, row: HistoryRow) -> bool:
        """An administrator's operation succeeded."""
        return row.outcome == "SUCCESS" and row.event_type in self.operations

    def second(self, row: HistoryRow) -> bool:
        """A sign-in with HIGH risk was allowed."""
        return row.risk == "HIGH" and row.outcome is not None and _SIGN_INS.get(row.event_type) == row.outcome

    def title(self, event: Event) -> str:
        """Return the user and the address."""
        user = event.actor_alternate_id or event.actor_id
        return f"{user} administered Okta in a session with high risk (IP={event.client_ip})"
