"""What `oktawatch init --systemd` refuses before it changes anything."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oktawatch.cli.main import main
from oktawatch.config.errors import ConfigError
from oktawatch.service import systemd_setup
from oktawatch.service.systemd_setup import encrypt_credential, require_reachable, set_up_systemd


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a program that every user can run, outside of pytest's folders, which are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "bin" / "oktawatch"
        path.parent.mkdir()
        path.touch()
        for part in (path.parents[1], path.parent, path):
            part.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        yield path


def test_a_program_in_open_folders_is_accepted(program: Path) -> None:
    """A program in folders that everybody can enter is accepted."""
    require_reachable(program)


@pytest.mark.parametrize("part", ["bin", "bin/oktawatch"])
def test_a_program_in_a_closed_folder_is_refused(program: Path, part: str) -> None:
    """A program in a folder that the service user can't enter is refused, with the command that opens the folder."""
    closed = program.parents[1] / part
    closed.chmod(0o700)
    try:
        with pytest.raises(
            ConfigError, match=rf"can't run it \({program}\): chmod o\+x {closed}, or install"
        ):
            require_reachable(program)
    finally:
        closed.chmod(0o755)


@pytest.mark.parametrize("home", ["/root/.local/bin/oktawatch", "/home/nora/venv/bin/oktawatch"])
def test_a_program_in_a_home_folder_is_refused(program: Path, home: str) -> None:
    """ProtectHome= hides home folders from the service, the program as well as its Python."""
    with pytest.raises(ConfigError, match=rf"in a home folder, .* \({home}\): install oktawatch elsewhere"):
        require_reachable(Path(home))
    assert program.is_file()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["somewhere", "--systemd"], "DIR and --systemd exclude each other"),
        (["--root", "x"], "--root requires --systemd"),
    ],
)
def test_contradicting_options_are_refused(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options that make no sense together are refused in one line."""
    assert main(["init", *words]) == 2
    assert error in capsys.readouterr().err


def test_only_root_sets_up_a_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another user is told to use sudo before being asked anything."""
    monkeypatch.setattr(systemd_setup, "is_root", lambda: False)
    assert main(["init", "--systemd"]) == 2
    assert "not permitted (init --systemd): run it as root, with sudo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("systemd-sysusers", lambda root: set_up_systemd("https://acme.okta.com", "00secret", root=root)),
        ("systemd-creds", lambda _root: encrypt_credential("00secret")),
    ],
)
def test_a_hanging_program_of_systemd_is_named(
    name: str, call: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of systemd that doesn't end is named in one line, without the token, and no file is created."""
    hanging = tmp_path / "bin" / name
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging.parent}:/usr/bin:/bin")
    monkeypatch.setattr(systemd_setup, "_TIMEOUT_S", 0.1)
    root = tmp_path / "root"

    with pytest.raises(ConfigError, match=rf"^no result within 0\.1 s \({name}\): ") as caught:
        call(root)

    assert "00secret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert [path for path in root.rglob("*") if path.is_file()] == []
