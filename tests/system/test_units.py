"""The units, the user and the configuration that belong together, checked with systemd's own tools.

The tools need no running systemd, only Debian's package systemd: `make system` runs these tests.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from oktawatch import config
from oktawatch.service.systemd_setup import set_up_systemd

FOLDER = Path(__file__).resolve().parents[2] / "config" / "systemd"
SERVICE = FOLDER / "oktawatch.service"
BACKFILL = FOLDER / "oktawatch-backfill@.service"
UNITS = [SERVICE, BACKFILL]
MOST_EXPOSED = 15  # tenths, as systemd-analyze counts: 1.5

_SHARED = {"User", "Group", "StateDirectory", "StateDirectoryMode", "WorkingDirectory", "LoadCredential"}


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _service(unit: Path) -> dict[str, list[str]]:
    """Parse a unit's [Service] section, in which a key may occur several times."""
    section = unit.read_text("utf-8").partition("[Service]\n")[2].partition("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _sandbox(unit: Path) -> str:
    return unit.read_text("utf-8").partition("# The sandbox")[2].partition("\n[")[0].strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay out a machine with Debian's units on which `oktawatch init --systemd` has run."""
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    set_up_systemd("https://acme.okta.com", "00invented", root=tmp_path)
    for unit in UNITS:
        service = _service(tmp_path / "etc/systemd/system" / unit.name)
        for command in service["ExecStart"] + service.get("ExecReload", []):
            program = tmp_path / command.split()[0].lstrip("/")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.touch(mode=0o755)
    return tmp_path


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_sandbox_is_tight(unit: Path) -> None:
    """Systemd finds at most 1.5 of 10 to be exposed."""
    threshold = f"--threshold={MOST_EXPOSED}"

    found = _run("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, unit)

    assert found.returncode == 0, found.stdout + found.stderr
    assert "Overall exposure level" in found.stdout


def test_the_units_are_correct(root: Path) -> None:
    """Systemd finds no fault in the units, and in the template with an age and with a date."""
    names = ["oktawatch.service", "oktawatch-backfill@7d.service", "oktawatch-backfill@2026-11-01.service"]

    found = _run("systemd-analyze", "verify", f"--root={root}", *names)

    assert (found.returncode, found.stderr) == (0, "")


def test_an_unknown_key_is_found(root: Path) -> None:
    """The check above sees a key that systemd does not know."""
    unit = root / "etc/systemd/system/oktawatch.service"
    unit.write_text(unit.read_text("utf-8").replace("WatchdogSec=", "WatchDogSec="), "utf-8")

    assert "WatchDogSec" in _run("systemd-analyze", "verify", f"--root={root}", "oktawatch.service").stderr


def test_the_user_and_group_can_be_created() -> None:
    """systemd-sysusers would make the user and the group that both units run as."""
    found = _run("systemd-sysusers", "--dry-run", FOLDER / "oktawatch.sysusers.conf")

    assert found.returncode == 0, found.stderr
    assert {tuple(_service(unit)["User"]) for unit in UNITS} == {("oktawatch",)}
    assert "oktawatch" in (FOLDER / "oktawatch.sysusers.conf").read_text("utf-8").split()


def test_both_units_share_sandbox_credentials_and_folder() -> None:
    """A backfill reads the same credentials and database as the daemon, in the same sandbox."""
    service, backfill = _service(SERVICE), _service(BACKFILL)

    assert _sandbox(SERVICE) == _sandbox(BACKFILL)
    assert {key: service[key] for key in _SHARED} == {key: backfill[key] for key in _SHARED}
    configured = [command.split() for command in service["ExecStart"] + backfill["ExecStart"]]
    assert {words[words.index("--config") + 1] for words in configured} == {"/etc/oktawatch/oktawatch.toml"}
    assert backfill["ExecStart"][0].endswith("--since %i")


def test_the_daemon_is_supervised() -> None:
    """The daemon reports readiness, feeds a watchdog, and is not restarted after a configuration error."""
    service = _service(SERVICE)

    assert service["Type"] == ["notify"]
    assert service["WatchdogSec"] == ["2min"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert service["StateDirectoryMode"] == ["0750"]


def test_the_configuration_belongs_to_the_units(tmp_path: Path, root: Path) -> None:
    """The configuration has the database's absolute path in the units' folder, and the token's credential."""
    name, _, source = _service(SERVICE)["LoadCredential"][0].partition(":")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    shutil.copy(root / source.lstrip("/"), credentials / name)

    settings = config.load(
        root / "etc/oktawatch/oktawatch.toml", environ={"CREDENTIALS_DIRECTORY": str(credentials)}
    )

    assert settings.database.url.get_secret_value() == "sqlite:////var/lib/oktawatch/oktawatch.db"
    assert settings.orgs[0].token_file == credentials / name
