"""A disk with little free space causes a warning."""

import pytest

from oktawatch.service.check import LITTLE_SPACE, Verdict, judge_space


@pytest.mark.parametrize(("free", "warned"), [(LITTLE_SPACE, False), (LITTLE_SPACE - 1, True), (0, True)])
def test_little_space_is_warned_of(free: int, warned: bool) -> None:
    """The warning shows the free space and the folder."""
    found = judge_space(free, "/var/lib/oktawatch")
    assert bool(found) is warned
    for finding in found:
        assert finding.verdict is Verdict.WARNING
        assert f"{free // 1024**2} MiB are free (/var/lib/oktawatch)" in finding.message
