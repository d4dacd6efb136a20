"""A database file has at most one daemon."""

import subprocess
import sys
from pathlib import Path

import pytest

from oktawatch.config import ConfigError
from oktawatch.service.file_lock import exclusive_lock

_HOLD = """
import sys
from pathlib import Path
from oktawatch.service.file_lock import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """A second process is refused with advice, even under another name of the file."""
    (tmp_path / "link").symlink_to(tmp_path)
    with exclusive_lock(tmp_path / "one.db"):
        second = exclusive_lock(tmp_path / "link" / "one.db")
        with (
            pytest.raises(ConfigError, match=r"another oktawatch runs on this database \(.*one\.db\): stop"),
            second,
        ):
            pytest.fail("the lock was given twice")


def test_another_or_a_released_file_can_be_locked(tmp_path: Path) -> None:
    """Another file, or a released one, can be locked."""
    with exclusive_lock(tmp_path / "one.db"), exclusive_lock(tmp_path / "two.db"):
        pass
    with exclusive_lock(tmp_path / "one.db"):
        assert not (tmp_path / "one.db").exists()


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    """SIGKILL releases the lock, although the lock file remains."""
    file = tmp_path / "one.db"
    command = [sys.executable, "-c", _HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError), exclusive_lock(file):
            pytest.fail("the lock was given twice")
        other.kill()

    with exclusive_lock(file):
        assert (tmp_path / "one.db.lock").exists()


def test_a_missing_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    """A missing folder causes one line that says how to fix it."""
    with (
        pytest.raises(ConfigError, match=r"No such file or directory: create a folder"),
        exclusive_lock(tmp_path / "nowhere" / "one.db"),
    ):
        pytest.fail("there is no folder to lock in")
