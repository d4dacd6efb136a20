"""The folder for files beside the database."""

from pathlib import Path

import pytest

from oktawatch.engine.state_folder import state_folder


def test_the_folder_of_an_sqlite_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of an SQLite file is used, also through a link, so that all commands find the same files."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/other")
    (tmp_path / "oktawatch.db").touch()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "oktawatch.db").symlink_to(tmp_path / "oktawatch.db")
    assert state_folder(tmp_path / "oktawatch.db") == tmp_path
    assert state_folder(tmp_path / "link" / "oktawatch.db") == tmp_path


def test_systemds_state_directory_is_used_without_an_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an SQLite file, the folder is the first of systemd's state directories, or else the user's."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/oktawatch:/var/lib/other")
    assert state_folder(None) == Path("/var/lib/oktawatch")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder(None) == tmp_path / "oktawatch"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder(None) == tmp_path / ".local" / "state" / "oktawatch"


def test_a_user_without_a_home_has_a_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home, as in a container, has a default folder."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert state_folder(None) == Path("/var/lib/oktawatch")
