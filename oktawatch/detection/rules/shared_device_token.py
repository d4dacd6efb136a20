"""One device that fails to sign in as many users."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.windows import DistinctInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class SharedDeviceToken(DistinctInWindow):
    """Failed sign-ins of many users from one device."""

    id: ClassVar[str] = "Okta.Shared.Device.Token"
    name: ClassVar[str] = "Multiple Okta User Authentication Events with Same Device Token Hash"
    description: ClassVar[str] = (
        "More than 20 users' credentials were refused from one device, told by the hash of its device token, within "
        "a few minutes: password spraying or credential stuffing from one browser. Logins that may be passwords "
        "are redacted and count as one."
    )
    runbook: ClassVar[str] = (
        "Block the address, then look whether the same device signed in successfully as anybody: that user's "
        "password is known to somebody else."
    )
    false_positives: ClassVar[str] = (
        "A kiosk or shared workstation at the start of a shift; a proxy that shares cookies."
    )
    mitre: ClassVar[tuple[str, ...]] = ("TA0006:T1110.003", "TA0006:T1110.004")
    references: ClassVar[tuple[str, ...]] = ("https://attack.mitre.org/techniques/T1110/003/",)
    event_types: ClassVar[tuple[str, ...]] = ("user.authentication.*", "user.session.start")
    column: ClassVar[Column] = "dt_hash"

    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(minutes=9)
    at_least: int = 21

    def takes(self, row: HistoryRow) -> bool:
        """Refused credentials."""
        return row.outcome_reason == "INVALID_CREDENTIALS"

    def value(self, row: HistoryRow) -> str | None:
        """As whom it tried."""
        return row.actor_alternate_id

    def title(self, event: Event) -> str:
        """From where."""
        return f"One device failed to sign in as {self.at_least} or more users (IP={event.client_ip or 'unknown'})"
