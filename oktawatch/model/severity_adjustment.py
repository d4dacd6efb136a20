"""The adjustments of the severity of a sign-in through an anonymizer, by their names in the configuration."""

from enum import StrEnum


class SeverityAdjustment(StrEnum):
    """An adjustment raises or lowers the severity when its condition holds."""

    NEW_DEVICE_AND_PLACE = "new_device_and_place"
    AFTER_FAILURES = "after_failures"
    HIGH_RISK = "high_risk"
    PHISHING = "phishing"
    FAMILIAR = "familiar"
    CLOSED_AS_BENIGN = "closed_as_benign"
    REPEATED = "repeated"


MOST_LEVELS = 4
"""The largest adjustment, in levels: the distance from INFO to CRITICAL."""
