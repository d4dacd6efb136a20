"""The program runs without standard streams, as under cron."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str, tmp_path: Path) -> None:
    """With closed streams, a command works, and its output is not written to another file."""
    (tmp_path / "oktawatch.toml").write_text(
        '[[orgs]]\nname = "acme"\nurl = "https://acme.example.com"\ntoken = "t0ken"\n', "utf-8"
    )
    upgrade = f"{sys.executable} -m oktawatch db upgrade {closed}"

    done = subprocess.run(upgrade, shell=True, cwd=tmp_path, check=False, timeout=60)  # noqa: S602 -- it is the shell that closes streams
    again = subprocess.run(upgrade, shell=True, cwd=tmp_path, check=False, timeout=60)  # noqa: S602 -- it is the shell that closes streams

    assert (done.returncode, again.returncode) == (0, 0)
    assert (tmp_path / "oktawatch.db").read_bytes().startswith(b"SQLite format 3\0")
