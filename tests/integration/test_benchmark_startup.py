"""The benchmark of start-up times measures every command with a limit."""

import sys
from pathlib import Path

import pytest

from benchmarks import machine, startup


@pytest.mark.slow
def test_every_command_is_measured() -> None:
    """Each command runs on a database with the current schema, and takes longer than the bare interpreter."""
    times = startup.measured(runs=1)

    bare = times.pop("python -c pass")
    assert times.keys() == startup.LIMITS_S.keys()
    assert all(seconds > bare > 0 for seconds in times.values())


def test_a_command_that_fails_is_not_measured(tmp_path: Path) -> None:
    """A usage error would be fast, so it is refused."""
    command = [sys.executable, "-m", "oktawatch", "--nonsense"]
    with pytest.raises(machine.ClientError, match="no such option"):
        startup.processor_time_s(command, tmp_path)
