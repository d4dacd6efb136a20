"""Set up oktawatch as a systemd service: `oktawatch init --systemd`."""

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

from msgspec import Struct

from oktawatch import shipped
from oktawatch.config.errors import ConfigError
from oktawatch.config.starter import TOKEN_FILE, starter_configuration
from oktawatch.service.new_files import NewFile, create_files, make_folder, require_absent

CONFIGURATION = Path("/etc/oktawatch/oktawatch.toml")
WRAPPER = Path("/usr/local/sbin/oktawatch")
"""The wrapper's folder comes before the others in the PATH of root and sudo."""
DATABASE = "sqlite:////var/lib/oktawatch/oktawatch.db"
_TOKEN = CONFIGURATION.parent / TOKEN_FILE
_UNITS = Path("/etc/systemd/system")
_SYSUSERS = Path("/etc/sysusers.d/oktawatch.conf")
_SHIPPED_PROGRAM = "/opt/oktawatch/bin/oktawatch"
_SHIPPED_CREDENTIAL = f"LoadCredential={TOKEN_FILE}:{_TOKEN}"
_HOMES = ("/home", "/root", "/run/user")
"""The folders that ``ProtectHome=yes`` hides from the service."""
_TIMEOUT_S = 60


class Setup(Struct, frozen=True, kw_only=True):
    """What was set up."""

    files: list[Path]
    """The created files, by their paths on the machine."""
    encrypted: bool
    """Whether the token's file is encrypted with this machine's key."""


def set_up_systemd(url: str, token: str, *, root: Path) -> Setup:
    """Create the service user, the configuration, the token's file, the units and the wrapper below ``root``.

    With another root than ``/``, the files are for another machine: the token is not encrypted, and the service need
    not be able to run the program here. Raises ConfigError or OSError, without leaving any of these files behind.
    """
    for_this_machine = root == Path("/")
    program = _program()
    if for_this_machine:
        require_reachable(program)
    _create_user(root)
    credential = encrypt_credential(token) if for_this_machine else None
    files = _files(url, token, program, credential)
    create_files(
        [NewFile(path=_below(root, file.path), content=file.content, mode=file.mode) for file in files],
        folder_mode=0o755,
    )
    return Setup(files=[file.path for file in files], encrypted=credential is not None)


def require_new(root: Path) -> None:
    """Raise ConfigError if a file of the service exists below ``root``."""
    files = _files("", "", Path(), None) + _files("", "", Path(), b"")
    require_absent(_below(root, file.path) for file in files)


def _files(url: str, token: str, program: Path, credential: bytes | None) -> list[NewFile]:
    if credential is None:
        secret = NewFile(path=_TOKEN, content=f"{token}\n".encode(), mode=0o600)
        load = _SHIPPED_CREDENTIAL
    else:
        secret = NewFile(path=_TOKEN.with_name(f"{TOKEN_FILE}.cred"), content=credential, mode=0o600)
        load = f"LoadCredentialEncrypted={TOKEN_FILE}:{secret.path}"

    def adapted(name: str, path: Path, mode: int) -> NewFile:
        text = shipped.read(f"systemd/{name}")
        text = text.replace(_SHIPPED_PROGRAM, str(program)).replace(_SHIPPED_CREDENTIAL, load)
        return NewFile(path=path, content=text.encode(), mode=mode)

    configuration = starter_configuration(url, database=DATABASE)
    return [
        secret,
        adapted("oktawatch.sysusers.conf", _SYSUSERS, 0o644),
        adapted("oktawatch.service", _UNITS / "oktawatch.service", 0o644),
        adapted("oktawatch-backfill@.service", _UNITS / "oktawatch-backfill@.service", 0o644),
        adapted("oktawatch-as-service.sh", WRAPPER, 0o755),
        NewFile(path=CONFIGURATION, content=configuration.encode(), mode=0o644),
    ]


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _program() -> Path:
    """Return the path of this installation's program."""
    program = Path(sysconfig.get_path("scripts")) / "oktawatch"
    if not program.is_file():
        raise ConfigError(
            "no program", str(program), "expected oktawatch to be installed with pip, pipx or uv"
        )
    return program


def require_reachable(program: Path) -> None:
    """Raise ConfigError if the service user can't reach a program or the Python that runs it."""
    fix = "install oktawatch elsewhere, such as into /opt/oktawatch"
    for file in (program, Path(sys.executable).resolve()):
        if str(file).startswith(tuple(f"{home}/" for home in _HOMES)):
            raise ConfigError("in a home folder, which the service can't see", str(file), fix)
        for part in (file, *file.parents):
            if not part.stat().st_mode & stat.S_IXOTH:
                raise ConfigError("the service user can't run it", str(file), f"chmod o+x {part}, or {fix}")


def _create_user(root: Path) -> None:
    """Create the service user. If it exists, nothing changes."""
    file = shipped.folder() / "systemd" / "oktawatch.sysusers.conf"
    if shutil.which("systemd-sysusers") is None:
        raise ConfigError("not found", "systemd-sysusers", "expected systemd on this machine")
    make_folder(root / "etc", 0o755)  # which systemd-sysusers expects
    done = _run("systemd-sysusers", f"--root={root}", str(file))
    if done.returncode != 0:
        problem = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        raise ConfigError("the user oktawatch can't be created", "systemd-sysusers", problem)


def encrypt_credential(token: str) -> bytes | None:
    """Encrypt a token with this machine's key. Return None if systemd is too old or has no key."""
    if shutil.which("systemd-creds") is None:
        return None
    # The token is passed through a pipe, because every user can see a command line.
    done = _run("systemd-creds", "encrypt", f"--name={TOKEN_FILE}", "-", "-", text=f"{token}\n")
    return done.stdout if done.returncode == 0 and done.stdout else None


def _run(name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program of systemd with ``text`` as standard input. Raise ConfigError if it does not end in time."""
    try:
        return subprocess.run(  # noqa: S603 -- no shell, and no text from outside
            [name, *arguments], input=text.encode(), capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        problem = f"no result within {_TIMEOUT_S} s"
    # Raised outside of the handler, so that no output of the program is in the context of the error.
    raise ConfigError(problem, name, "look for the reason in 'journalctl -b', then try again")


def is_root() -> bool:
    """Return whether this process may write to the system's folders."""
    return os.geteuid() == 0
