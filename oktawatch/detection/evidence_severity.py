"""Compute the severity of a sign-in through an anonymizer, with its reasons.

The kind of anonymizer determines the base severity: INFO for relay, LOW for corporate_vpn, and HIGH for tor and
residential_proxy. The other kinds have the rule's severity, by default MEDIUM. The configuration can override the base
severity of each kind. Each of these conditions raises the severity by one level, up to CRITICAL:

- The sign-in succeeded from a new device and a new place, according to Okta.
- The sign-in succeeded, and Okta rates the risk as HIGH or suspects a threat.
- FastPass declined the sign-in as phishing, and the address is not a relay.
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
"""The base severities. A kind that is missing here has the rule's severity."""

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
    """Return the severity of an event.

    ``default`` is the rule's severity. ``configured`` contains the configured severities by kind.
    """
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
