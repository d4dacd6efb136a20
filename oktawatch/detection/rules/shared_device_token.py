"""One device that fails to sign in as many different users."""

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
        "One device, identified by the hash of its device token, failed to sign in as more than 20 users within "
        "a few minutes. This suggests password spraying or credential stuffing. Logins that may be passwords "
        "are redacted and count as one user."
    )
    runbook: ClassVar[str] = (
        "Block the address. Check whether the same device signed in successfully as any user: that user's "
        "password is compromised."
    )
    false_positives: ClassVar[str] = (
        "A kiosk or shared workstation at the start of a shift, a proxy that shares cookies."
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
        """The outcome reason is INVALID_CREDENTIALS."""
        return row.outcome_reason == "INVALID_CREDENTIALS"

    def value(self, row: HistoryRow) -> str | None:
        """The login."""
        return row.actor_alternate_id

    def title(self, event: Event) -> str:
        """Return the number of users and the address."""
        return f"One device failed to sign in as {self.at_least} or more users (IP={event.client_ip or 'unknown'})"
