"""Compute the severity of a sign-in through an anonymizer, with its reasons.

The kind of anonymizer determines the base severity (`BASE`). A kind that is not in this table has the rule's severity, by
default MEDIUM. Then adjustments (`ADJUSTMENTS`) change it: first all raises, up to CRITICAL, then all reductions, down to
INFO. `SeverityAdjustment.REPEATED` applies only if no other adjustment does. The configuration can change each line of
both tables.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import Struct

from oktawatch.model.anonymizer_kind import Anonymizer, AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.match import SUCCESSES
from oktawatch.model.person_past import (
    FAMILIAR_DAYS,
    FAMILIAR_WINDOW,
    MANY_FAILURES,
    NO_PAST,
    VERDICT_WINDOW,
    Past,
    service_of,
)
from oktawatch.model.risk import NEW_DEVICE
from oktawatch.model.severity import Severity
from oktawatch.model.severity_adjustment import SeverityAdjustment
from oktawatch.model.timestamps import shifted

_DAY = timedelta(days=1)
_PLACES = frozenset(("New Geo-Location", "New Country"))
_PHISHING = "FastPass declined phishing attempt"
_HARMLESS = frozenset(("benign", "false_positive"))


class GradedSeverity(Struct, frozen=True):
    """A severity and its reasons."""

    severity: Severity
    reasons: tuple[str, ...]
    """The kind, and the reason of each adjustment. Empty if the severity was not graded by `SeverityTable`."""


class _SignIn(Struct, frozen=True):
    """The facts about a sign-in."""

    event: Event
    anonymizer: Anonymizer
    past: Past

    @property
    def succeeded(self) -> bool:
        return self.event.outcome_result in SUCCESSES

    @property
    def behaviours(self) -> frozenset[str]:
        """The behaviours that Okta observed."""
        text = self.event.behaviours
        return frozenset(msgspec.json.decode(text)) if text else frozenset()

    @property
    def is_trusted(self) -> bool:
        """Whether Okta doesn't call the device new, and the person has no recent ``true_positive`` verdict.

        Recent: at most `FAMILIAR_WINDOW` before the sign-in, or at any time after it: compromises are often found later.
        """
        return NEW_DEVICE not in self.behaviours and not any(
            verdict.disposition == "true_positive" and self._age(verdict.closed_at) <= FAMILIAR_WINDOW
            for verdict in self.past.verdicts
        )

    def last_disposition(self) -> str | None:
        """Return the latest verdict within `VERDICT_WINDOW` on the person's alerts of the same operator or network."""
        service = service_of(self.anonymizer.operator, self.event.as_number)
        verdicts = [
            verdict
            for verdict in self.past.verdicts
            if verdict.service == service and timedelta() <= self._age(verdict.closed_at) <= VERDICT_WINDOW
        ]
        if service is None or not verdicts:
            return None
        return max(verdicts, key=lambda verdict: verdict.closed_at).disposition

    @property
    def is_from_new_place(self) -> bool:
        """Whether Okta calls the place new."""
        return not _PLACES.isdisjoint(self.behaviours)

    @property
    def was_used_the_day_before(self) -> bool:
        """Whether the UTC day before is one of the person's familiar days (`FamiliarDay`)."""
        return shifted(self.event.published, -_DAY)[:10] in self.past.days

    def _age(self, moment: datetime) -> timedelta:
        """Return the time from ``moment`` to the sign-in. Negative if ``moment`` is later."""
        return self.event.published_at - moment


class Adjustment(NamedTuple):
    """A condition that changes the severity."""

    levels: int
    """By how many levels the severity is raised, or lowered if negative. The configuration can override it."""
    reason: str
    holds: Callable[[_SignIn], bool]


BASE: Mapping[AnonymizerKind, Severity] = MappingProxyType(
    {
        AnonymizerKind.RELAY: Severity.INFO,
        AnonymizerKind.CORPORATE_VPN: Severity.LOW,
        AnonymizerKind.TOR: Severity.HIGH,
        AnonymizerKind.RESIDENTIAL_PROXY: Severity.HIGH,
    }
)
"""The base severities."""

ADJUSTMENTS: Mapping[SeverityAdjustment, Adjustment] = MappingProxyType(
    {
        SeverityAdjustment.NEW_DEVICE_AND_PLACE: Adjustment(
            +1,
            "success from a new device and place",
            lambda sign_in: (
                sign_in.succeeded and NEW_DEVICE in sign_in.behaviours and sign_in.is_from_new_place
            ),
        ),
        SeverityAdjustment.AFTER_FAILURES: Adjustment(
            +1,
            f"success after {MANY_FAILURES} or more failures within an hour",
            lambda sign_in: sign_in.succeeded and len(sign_in.past.failures) >= MANY_FAILURES,
        ),
        SeverityAdjustment.HIGH_RISK: Adjustment(
            +1,
            "success at high risk",
            lambda sign_in: (
                sign_in.succeeded
                and (
                    sign_in.event.risk == "HIGH" or sign_in.event.debug_data.threatSuspected in {"true", True}
                )
            ),
        ),
        SeverityAdjustment.PHISHING: Adjustment(
            +1,
            "FastPass declined phishing",
            lambda sign_in: (
                sign_in.event.outcome_reason == _PHISHING
                and sign_in.anonymizer.kind is not AnonymizerKind.RELAY
            ),
        ),
        SeverityAdjustment.FAMILIAR: Adjustment(
            -1,
            "familiar to this person",
            lambda sign_in: len(sign_in.past.days) >= FAMILIAR_DAYS and sign_in.is_trusted,
        ),
        SeverityAdjustment.CLOSED_AS_BENIGN: Adjustment(
            -1,
            "earlier alert closed as benign",
            lambda sign_in: sign_in.last_disposition() in _HARMLESS and sign_in.is_trusted,
        ),
        # The sign-in of the day before already has an alert. Failures don't count: Okta evaluates devices and places only after
        # the password, so a stranger's failure looks like one from the person's own device.
        SeverityAdjustment.REPEATED: Adjustment(
            -1,
            "used the day before",
            lambda sign_in: (
                sign_in.succeeded
                and sign_in.was_used_the_day_before
                and sign_in.is_trusted
                and not sign_in.is_from_new_place
            ),
        ),
    }
)
"""The adjustments. Reasons are listed in this order."""

PAST_ADJUSTMENTS = (
    SeverityAdjustment.AFTER_FAILURES,
    SeverityAdjustment.FAMILIAR,
    SeverityAdjustment.CLOSED_AS_BENIGN,
    SeverityAdjustment.REPEATED,
)
"""The adjustments that depend on the person's past."""


class SeverityTable(Struct, frozen=True):
    """The configured changes to the tables."""

    base: Mapping[AnonymizerKind, Severity] = MappingProxyType({})
    levels: Mapping[SeverityAdjustment, int] = MappingProxyType({})
    """The configured levels of adjustments. 0 turns an adjustment off."""

    @property
    def needs_past(self) -> bool:
        """Whether an adjustment that depends on the person's past is turned on."""
        return any(self._levels(name) for name in PAST_ADJUSTMENTS)

    def grade(
        self, event: Event, anonymizer: Anonymizer, default: Severity, past: Past = NO_PAST
    ) -> GradedSeverity:
        """Return the severity of an event. ``default`` is the rule's severity."""
        kind = anonymizer.kind
        sign_in = _SignIn(event, anonymizer, past)
        found = {
            name: levels
            for name, adjustment in ADJUSTMENTS.items()
            if (levels := self._levels(name)) and adjustment.holds(sign_in)
        }
        if len(found) > 1:
            found.pop(SeverityAdjustment.REPEATED, None)
        severity = int(self.base.get(kind, BASE.get(kind, default)))
        severity = min(severity + sum(levels for levels in found.values() if levels > 0), Severity.CRITICAL)
        severity = max(severity + sum(levels for levels in found.values() if levels < 0), Severity.INFO)
        return GradedSeverity(Severity(severity), (kind.value, *(ADJUSTMENTS[name].reason for name in found)))

    def _levels(self, name: SeverityAdjustment) -> int:
        return self.levels.get(name, ADJUSTMENTS[name].levels)


BUILT_IN_TABLE = SeverityTable()
"""The tables without changes."""
