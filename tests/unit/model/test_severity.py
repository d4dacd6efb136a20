"""Severities are ordered, and parsed by name."""

import pytest

from oktawatch.model.severity import Severity


def test_severities_are_ordered() -> None:
    """A worse severity compares greater."""
    assert Severity.INFO < Severity.LOW < Severity.MEDIUM < Severity.HIGH < Severity.CRITICAL


def test_severities_are_case_insensitive() -> None:
    """Severities are parsed case-insensitively."""
    assert Severity.parse(" medium ") is Severity.MEDIUM


def test_an_unknown_severity_is_refused_with_the_valid_names() -> None:
    """The error about an unknown severity lists the valid names."""
    with pytest.raises(ValueError, match="INFO, LOW, MEDIUM, HIGH, CRITICAL"):
        Severity.parse("urgent")
