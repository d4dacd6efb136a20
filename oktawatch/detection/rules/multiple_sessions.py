"""Users who start several sessions within a short time."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.windows import DistinctInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class MultipleSessions(DistinctInWindow):
    """A user who starts several sessions within a short time."""

    id: ClassVar[str] = "Okta.Multiple.Sessions"
    name: ClassVar[str] = "Multiple Okta Sessions Detected for a Single User"
    description: ClassVar[str] = (
        "One user started at least three different sessions within a short time. One person usually starts fewer. "
        "Possible causes are copied cookies and shared passwords."
    )
    runbook: ClassVar[str] = (
        "Check in the evidence whether the sessions' addresses and devices fit one person. If one does not, end "
        "the user's sessions and ask the user."
    )
    false_positives: ClassVar[str] = (
        "Test accounts, people who set up a new device, browsers that delete cookies."
    )
    mitre: ClassVar[tuple[str, ...]] = ("TA0008:T1550.004",)
    references: ClassVar[tuple[str, ...]] = ("https://attack.mitre.org/techniques/T1550/004/",)
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start",)
    column: ClassVar[Column] = "actor_id"

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(minutes=35)
    window: timedelta = timedelta(minutes=35)
    at_least: int = 3

    def takes(self, row: HistoryRow) -> bool:
        """The session is known, and the actor is a user, not one of Okta's own actors."""
        return row.external_session_id is not None and not (
            (row.actor_id or "").startswith("okta") or (row.actor_display_name or "").startswith("okta")
        )

    def value(self, row: HistoryRow) -> str | None:
        """The session."""
        return row.external_session_id

    def title(self, event: Event) -> str:
        """Return the user and the number of sessions."""
        user = event.actor_alternate_id or event.actor_id
        return f"{user} started {self.at_least} or more Okta sessions within a short time"
