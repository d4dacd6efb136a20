"""Successful sign-ins, for other rules to use."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.signals import Seen, SignalRule
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class LoginSuccess(SignalRule):
    """A successful sign-in. A signal: recorded without an alert."""

    id: ClassVar[str] = "Okta.Login.Success"
    name: ClassVar[str] = "Okta Login Signal"
    description: ClassVar[str] = (
        "Somebody signed in. Recorded so that other rules can relate it to other events."
    )
    runbook: ClassVar[str] = "Nothing to do: a signal records ordinary activity."
    false_positives: ClassVar[str] = "All of them: a signal is not suspicious by itself."
    references: ClassVar[tuple[str, ...]] = ("https://developer.okta.com/docs/reference/api/event-types/",)
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start",)

    severity: Severity = Severity.INFO
    dedup_period: timedelta = timedelta(hours=1)

    def matches(self, event: Seen) -> bool:
        """The outcome is SUCCESS."""
        return event.outcome_result == "SUCCESS"

    def title(self, event: Event) -> str:
        """Return the user's name."""
        return f"{event.actor_display_name or '<displayName-not-found>'} logged in to Okta"
