"""Users with several sessions at once."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.windows import DistinctInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class MultipleSessions(DistinctInWindow):
    """A user who starts several sessions within half an hour."""

    id: ClassVar[str] = "Okta.Multiple.Sessions"
    name: ClassVar[str] = "Multiple Okta Sessions Detected for a Single User"
    description: ClassVar[str] = (
        "One user started at least three different sessions within a short time: more devices than a person picks "
        "up at once. Copied cookies and shared passwords look like this."
    )
    runbook: ClassVar[str] = (
        "Look at the evidence: do the sessions come from addresses and devices that fit one person? If one does "
        "not, end that user's sessions and ask."
    )
    false_positives: ClassVar[str] = (
        "Test accounts, people who set up a new device, browsers that drop cookies."
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
        """A session that is known, of a user and not of Okta's own actors."""
        ours = (row.actor_id or "").startswith("okta") or (row.actor_display_name or "").startswith("okta")
        return row.external_session_id is not None and not ours

    def value(self, row: HistoryRow) -> str | None:
        """Which session."""
        return row.external_session_id

    def title(self, event: Event) -> str:
        """Who."""
        who = event.actor_alternate_id or event.actor_id
        return f"{who} started {self.at_least} or more Okta sessions within a short time"
