"""Many failed sign-ins of one login from one address."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.rule import Key
from oktawatch.detection.windows import CountInWindow
from oktawatch.model.event import Event
from oktawatch.model.history import Column, HistoryRow
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class FailedLoginsUnknownUser(CountInWindow):
    """Many sign-ins that failed verification, with one login from one address."""

    id: ClassVar[str] = "Okta.Failed.Logins.Unknown.User"
    name: ClassVar[str] = "Failed Logins from Unknown or Invalid User"
    description: ClassVar[str] = (
        "More than 15 sign-ins with one login from one address failed verification within a few minutes, which "
        "suggests guessing. Logins that may be passwords are redacted, so their failures are counted together "
        "for each address."
    )
    runbook: ClassVar[str] = (
        "Block the address. Check whether the same address signed in successfully, and whether the login exists."
    )
    false_positives: ClassVar[str] = "A script or phone with an old password, many people behind one address."
    mitre: ClassVar[tuple[str, ...]] = ("TA0006:T1110",)
    references: ClassVar[tuple[str, ...]] = ("https://attack.mitre.org/techniques/T1110/",)
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start",)
    ignore_case: ClassVar[bool] = True
    column: ClassVar[Column] = "client_ip"

    severity: Severity = Severity.MEDIUM
    dedup_period: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(minutes=5)
    at_least: int = 16

    def takes(self, row: HistoryRow) -> bool:
        """The outcome reason is VERIFICATION_ERROR, in upper or lower case."""
        return (row.outcome_reason or "").upper() == "VERIFICATION_ERROR"

    def key(self, row: HistoryRow) -> Key:
        """The login in lower case and the client's address."""
        login = row.actor_alternate_id
        return (login.lower() if login else None, row.client_ip)

    def title(self, event: Event) -> str:
        """Return the threshold, the login and the address."""
        return f"{self.at_least} or more failed logins as {event.actor_alternate_id} from {event.client_ip}"
