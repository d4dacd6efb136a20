"""The disk of an SQLite file is checked, and little free space causes a warning."""

import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest

from oktawatch import config
from oktawatch.service import check
from oktawatch.service.app import Application
from oktawatch.service.check import Verdict, judge_space
from oktawatch.store.space import LITTLE_SPACE


@pytest.mark.parametrize("folder", ["plain", "with space", "a%41?b#c"])
def test_a_full_disk_is_found_in_any_folder(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is checked even if its name is encoded in the database's URL."""
    base = tmp_path / folder
    base.mkdir()
    text = '[database]\nurl = "sqlite:///oktawatch.db"\n[[orgs]]\nurl = "https://a.okta.com"\ntoken = "00t"'
    (base / "oktawatch.toml").write_text(text)
    app = Application(config.load(base / "oktawatch.toml", environ={}, cwd=tmp_path))

    def fail(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    [finding] = check._disk(app)
    assert (finding.verdict, str(base) in finding.message) == (Verdict.FAILED, True)


@pytest.mark.parametrize(("free", "warned"), [(LITTLE_SPACE, False), (LITTLE_SPACE - 1, True), (0, True)])
def test_low_disk_space_is_a_warning(free: int, warned: bool) -> None:
    """The warning shows the free space and the folder."""
    found = judge_space(free, "/var/lib/oktawatch")
    assert bool(found) is warned
    for finding in found:
        assert finding.verdict is Verdict.WARNING
        assert f"{free // 1024**2} MiB are free (/var/lib/oktawatch)" in finding.message
