"""Successful sign-ins, for other detections to lean on."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from oktawatch.detection.signals import Seen, SignalRule
from oktawatch.model.event import Event
from oktawatch.model.severity import Severity


@dataclass(frozen=True, kw_only=True)
class LoginSuccess(SignalRule):
    """A sign-in that succeeded. A signal: recorded, and no alert."""

    id: ClassVar[str] = "Okta.Login.Success"
    name: ClassVar[str] = "Okta Login Signal"
    description: ClassVar[str] = (
        "Somebody signed in. Recorded so that other detections can be held against it."
    )
    runbook: ClassVar[str] = "Nothing to do: a signal says what happened, not that it was wrong."
    false_positives: ClassVar[str] = "Every one: that is what a signal is."
    references: ClassVar[tuple[str, ...]] = ("https://developer.okta.com/docs/reference/api/event-types/",)
    event_types: ClassVar[tuple[str, ...]] = ("user.session.start",)

    severity: Severity = Severity.INFO
    dedup_period: timedelta = timedelta(hours=1)

    def matches(self, event: Seen) -> bool:
        """Okta let the user in."""
        return event.outcome_result == "SUCCESS"

    def title(self, event: Event) -> str:
        """Who."""
        return f"{event.actor_display_name or '<displayName-not-found>'} logged in to Okta"
