"""How severe a sign-in through an anonymizer is, and why.

The kind of the anonymizer gives the base: relay INFO, corporate_vpn LOW, tor and residential_proxy HIGH. The other
kinds have the rule's own severity, by default MEDIUM. The configuration can change each of them. The severity rises by
one level, at most to CRITICAL, for each of these facts:

- somebody got in from a device and a place that Okta calls new;
- somebody got in although Okta calls the risk high or suspects a threat;
- FastPass declined the sign-in as phishing, and the address is not a relay's.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from oktawatch.detection.evidence import Classification
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.model.risk import NEW_DEVICE
from oktawatch.model.severity import Severity

BASE = MappingProxyType(
    {
        AnonymizerKind.RELAY: Severity.INFO,
        AnonymizerKind.CORPORATE_VPN: Severity.LOW,
        AnonymizerKind.TOR: Severity.HIGH,
        AnonymizerKind.RESIDENTIAL_PROXY: Severity.HIGH,
    }
)
"""The severities of the kinds that don't have the rule's own."""

_SUCCESSES = frozenset(("SUCCESS", "ALLOW"))
_PLACES = frozenset(("New Geo-Location", "New Country"))
_PHISHING = "FastPass declined phishing attempt"


class GradedSeverity(Struct, frozen=True):
    """A severity and its reasons."""

    severity: Severity
    reasons: tuple[str, ...]
    """The kind, and each fact that raised the severity."""


def grade(
    event: Event,
    classification: Classification,
    default: Severity,
    configured: Mapping[AnonymizerKind, Severity],
) -> GradedSeverity:
    """Return the severity of an event. ``default``: the rule's own severity. ``configured``: by kind."""
    kind = classification.kind or AnonymizerKind.UNKNOWN
    severity = configured.get(kind, BASE.get(kind, default))
    facts = tuple(_facts(event, kind))
    for _ in facts:
        severity = severity.raised()
    return GradedSeverity(severity, (kind.value, *facts))


def _facts(event: Event, kind: AnonymizerKind) -> Iterator[str]:
    if event.outcome_result in _SUCCESSES:
        observed = frozenset(msgspec.json.decode(event.behaviours)) if event.behaviours else frozenset()
        if NEW_DEVICE in observed and observed & _PLACES:
            yield "success from a new device and place"
        if event.risk == "HIGH" or event.debug_data.threatSuspected in {"true", True}:
            yield "success at high risk"
    if event.outcome_reason == _PHISHING and kind is not AnonymizerKind.RELAY:
        yield "FastPass declined phishing"
