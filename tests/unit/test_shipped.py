"""The files for operators, in the repository and in the wheel."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from oktawatch import shipped
from oktawatch.cli.main import main

ROOT = Path(__file__).parents[2]
UNIT = "systemd/oktawatch.service"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Build the wheel; return the content of each of its files."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_contains_all_of_config_and_the_migrations(packed: dict[str, bytes]) -> None:
    """Each file of both folders is in the wheel, unchanged."""
    for source, target in (("config", "oktawatch/_config"), ("migrations", "oktawatch/migrations")):
        files = [path for path in (ROOT / source).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert files
        for path in files:
            assert packed[f"{target}/{path.relative_to(ROOT / source).as_posix()}"] == path.read_bytes()


def test_an_installed_package_reads_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy inside the package is used where there is one, and the repository's folder elsewhere."""
    assert shipped.folder() == ROOT / "config"
    (tmp_path / "_config/systemd").mkdir(parents=True)
    (tmp_path / "_config" / UNIT).write_text("installed", "utf-8")

    with monkeypatch.context() as patched:
        patched.setattr("oktawatch.shipped.resources.files", lambda _: tmp_path)
        assert list(shipped.names()) == [UNIT]
        assert shipped.read(UNIT) == "installed"


def test_the_command_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """`oktawatch files` lists every name, and `oktawatch files NAME` prints the file as it is."""
    assert main(["files"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {UNIT, "oktawatch.example.toml"} <= set(names)
    for name in names:
        assert main(["files", name]) == 0
        assert capsys.readouterr().out.encode() == (ROOT / "config" / name).read_bytes()


@pytest.mark.parametrize("name", ["nothing.toml", "../pyproject.toml", "systemd"])
def test_another_name_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the listed files can be printed, and the error lists them."""
    assert main(["files", name]) == 2
    assert f"error: no such file ({name}): there are: " in capsys.readouterr().err
    with pytest.raises(KeyError):
        shipped.read(name)
