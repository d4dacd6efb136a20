"""`oktawatch init --systemd`, and the wrapper that runs commands as the service user.

They need no running systemd, but root and Debian's package systemd: `make system` runs these tests.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oktawatch.service.systemd_setup import encrypt_credential, set_up_systemd
from oktawatch.simulator import SimulatedOrg, running
from tests.support.launch import environment
from tests.support.private_machine import run_privately

TOKEN = "00invented"
SITE_PACKAGES = Path(pytest.__file__).parents[1]
REPOSITORY = Path(__file__).parents[2]


def _init(
    root: Path, token: str = TOKEN, url: str = "https://acme.okta.com"
) -> "subprocess.CompletedProcess[str]":
    command = ["-m", "oktawatch", "init", "--systemd", "--url", url, "--token", "-", "--root", str(root)]
    return subprocess.run(
        [sys.executable, *command], input=f"{token}\n", env=environment(),
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _imports() -> dict[str, str]:
    """Return the variables with which the system's Python finds the program and its dependencies."""
    return {"PYTHONPATH": f"{REPOSITORY}:{SITE_PACKAGES}"}


def _modes(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): f"{stat.S_IMODE(path.stat().st_mode):o}"
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_files_of_a_service(tmp_path: Path) -> None:
    """All files are there with their modes, only root can read the token, and no other file contains it."""
    set_up_systemd("https://acme.okta.com", TOKEN, root=tmp_path)

    modes = _modes(tmp_path)
    expected = {
        "etc/oktawatch/okta.token": "600",
        "etc/oktawatch/oktawatch.toml": "644",
        "etc/sysusers.d/oktawatch.conf": "644",
        "etc/systemd/system/oktawatch-backfill@.service": "644",
        "etc/systemd/system/oktawatch.service": "644",
        "usr/local/sbin/oktawatch": "755",
    }
    assert expected.items() <= modes.items()
    assert set(modes) - set(expected) <= {
        f"etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", ".pwd.lock")
    }
    assert "\noktawatch:" in "\n" + (tmp_path / "etc/passwd").read_text("utf-8")
    assert [name for name in modes if TOKEN in (tmp_path / name).read_text("utf-8")] == [
        "etc/oktawatch/okta.token"
    ]
    program = Path(shutil.which("oktawatch", path=str(SITE_PACKAGES.parents[2] / "bin")) or "")
    for name in ("etc/systemd/system/oktawatch.service", "etc/systemd/system/oktawatch-backfill@.service"):
        assert f"ExecStart={program} " in (tmp_path / name).read_text("utf-8")
    assert f"\nprogram={program}\n" in (tmp_path / "usr/local/sbin/oktawatch").read_text("utf-8")


def test_a_second_setup_changes_nothing(tmp_path: Path) -> None:
    """Existing files are refused before anything is written."""
    set_up_systemd("https://acme.okta.com", TOKEN, root=tmp_path)
    (tmp_path / "etc/oktawatch/oktawatch.toml").unlink()
    before = _modes(tmp_path)

    done = _init(tmp_path, "00another")

    assert done.returncode == 2
    assert done.stderr.startswith("error: already exists (")
    assert _modes(tmp_path) == before


def test_the_command_prints_the_next_commands(tmp_path: Path) -> None:
    """The command lists the files and prints the next commands, without the token."""
    done = _init(tmp_path)

    assert done.returncode == 0, done.stderr
    assert "  /etc/systemd/system/oktawatch.service\n" in done.stdout
    assert "The token is readable only by root." in done.stdout
    assert (
        "sudo systemctl daemon-reload && sudo systemctl enable --now oktawatch\n  sudo oktawatch status"
        in done.stdout
    )
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_is_encrypted_with_the_machines_key(tmp_path: Path) -> None:
    """A credential is decrypted under its name, and the token is not readable in it."""
    credential = encrypt_credential(TOKEN)

    assert credential is not None
    assert TOKEN.encode() not in credential
    file = tmp_path / "okta.token.cred"
    file.write_bytes(credential)
    read = subprocess.run(
        ["systemd-creds", "decrypt", "--name=okta.token", str(file), "-"], capture_output=True, check=True
    )
    assert read.stdout == f"{TOKEN}\n".encode()


class Machine:
    """A wrapper whose folders are below a temporary folder, and whose service user is `nobody`."""

    def __init__(self, root: Path, url: str, token: str) -> None:
        self.root = root
        set_up_systemd(url, token, root=root)
        self.units = root / "etc/systemd/system"
        for file in (*self.units.iterdir(), root / "etc/oktawatch/oktawatch.toml"):
            text = file.read_text("utf-8")
            for folder in ("/etc/oktawatch", "/var/lib/oktawatch"):
                text = text.replace(folder, f"{root}{folder}")
            file.write_text(text, "utf-8")
        (root / "run").mkdir()
        (root / "var/lib").mkdir(parents=True)
        self.state = root / "var/lib/oktawatch"
        self.program = root / "program"
        self.wrapper = root / "usr/local/sbin/oktawatch"
        values = {
            "program": self.program, "user": "nobody", "units": self.units, "state": self.state, "runtime": root / "run",
            "configuration": root / "etc/oktawatch/oktawatch.toml",
        }  # fmt: skip
        lines = self.wrapper.read_text("utf-8").splitlines(keepends=True)
        adapted = [
            f"{key}={values.pop(key)}\n" if (key := line.partition("=")[0]) in values else line
            for line in lines
        ]
        assert not values, "the wrapper has other variables"
        self.wrapper.write_text("".join(adapted), "utf-8")

    def install(self, script: str) -> None:
        """Install a shell script as the program."""
        self.program.write_text(f"#!/bin/sh\n{script}", "utf-8")
        self.program.chmod(0o755)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the wrapper, in a folder that only root can enter and in a process group of its own."""
        return subprocess.run(
            [self.wrapper, *words],
            cwd="/root",
            env=environment() | _imports(),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            start_new_session=True,
        )


@pytest.fixture
def org() -> SimulatedOrg:
    """Return a simulated org."""
    return SimulatedOrg()


@pytest.fixture
def machine(org: SimulatedOrg) -> Iterator[Machine]:
    """Set up a service for the org, in a folder that every user can enter."""
    with running(org) as url, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Machine(Path(folder), url, org.token)


def test_commands_run_as_the_service_user(machine: Machine, org: SimulatedOrg) -> None:
    """A command has the service user's id, no privileges, the credentials and the configuration, and its arguments."""
    machine.install(
        'id -un; id -gn; grep -E "^(CapPrm|NoNewPrivs)" /proc/self/status; cat "$CREDENTIALS_DIRECTORY"/*\n'
        'stat -c "%a %U" "$CREDENTIALS_DIRECTORY" "$CREDENTIALS_DIRECTORY"/*; echo "$OKTAWATCH_CONFIG"; printf "%s\\n" "$@"; exit 7'
    )

    done = machine.run("alerts", "list", "two words")

    assert done.returncode == 7, done.stderr
    nobody = pwd.getpwnam("nobody").pw_name
    assert done.stdout.splitlines() == [
        nobody, "nogroup", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", org.token, f"700 {nobody}", f"600 {nobody}",
        str(machine.root / "etc/oktawatch/oktawatch.toml"), "alerts", "list", "two words",
    ]  # fmt: skip
    assert os.listdir(machine.root / "run") == []  # noqa: PTH208 -- hidden files too


def test_credentials_of_drop_ins(machine: Machine) -> None:
    """Tokens of additional orgs, in clear or encrypted, are found like the first one."""
    drop_ins = machine.units / "oktawatch.service.d"
    drop_ins.mkdir()
    (machine.root / "beta.token").write_text("00beta\n", "utf-8")
    encrypted = machine.root / "gamma.cred"
    subprocess.run(
        ["systemd-creds", "encrypt", "--name=gamma.token", "-", encrypted], input=b"00gamma\n", check=True
    )
    (drop_ins / "orgs.conf").write_text(
        f"[Service]\nLoadCredential=beta.token:{machine.root}/beta.token\n"
        f"LoadCredentialEncrypted=gamma.token:{encrypted}\n", "utf-8",
    )  # fmt: skip
    machine.install('cd "$CREDENTIALS_DIRECTORY" && ls && cat beta.token gamma.token')

    assert machine.run("check").stdout.splitlines() == [
        "beta.token",
        "gamma.token",
        "okta.token",
        "00beta",
        "00gamma",
    ]


def test_a_missing_credential_leaves_no_copies(machine: Machine) -> None:
    """The program does not run, the error names the file, and no copy of another credential is left."""
    (machine.root / "etc/oktawatch/okta.token").unlink()
    machine.install("echo started")

    done = machine.run("check")

    assert done.returncode != 0
    assert done.stdout == ""
    assert "okta.token" in done.stderr
    assert os.listdir(machine.root / "run") == []  # noqa: PTH208 -- hidden files too


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_no_credentials(machine: Machine, number: signal.Signals) -> None:
    """A signal to the group, as by Ctrl-C, ends the command, and the copies are removed."""
    machine.install("echo started; exec sleep 60")

    with subprocess.Popen(
        [machine.wrapper, "run"], env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        assert len(os.listdir(machine.root / "run")) == 1  # noqa: PTH208 -- hidden files too
        os.killpg(process.pid, number)
        assert process.wait(10) == 128 + number

    assert os.listdir(machine.root / "run") == []  # noqa: PTH208 -- hidden files too


def test_only_root_runs_the_wrapper(machine: Machine) -> None:
    """Other users get an error with the command to use."""
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", machine.wrapper, "status", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == "error: not permitted (oktawatch): run it as root: sudo oktawatch status --json\n"


def test_the_real_program_works_as_the_service_user(machine: Machine) -> None:
    """`check`, `backfill` and `status` find token and database, and no file of root's is left in the state folder."""
    machine.install('exec /usr/bin/python3 -P -m oktawatch "$@"')

    for words, said in (
        (("check",), "its System Log can be read"),
        (("backfill", "--since", "1h", "--dry-run"), ""),
        (("run", "--once"), ""),
        (("status",), "ok"),
        (("explain", "6b0a1e7e-c933-11f0-8de9-0242ac120002"), ""),
    ):
        done = machine.run(*words)
        assert "Traceback" not in done.stderr
        assert "ermission denied" not in done.stderr
        assert said in done.stdout, done.stderr
    owners = {path.name: path.owner() for path in machine.state.iterdir()}
    assert "oktawatch.db" in owners
    assert set(owners.values()) == {"nobody"}


SET_UP = """\
echo "$TOKEN" | /opt/oktawatch/bin/oktawatch init --systemd --url "$URL" --token -
export PATH=/usr/local/sbin:/usr/bin:/bin
oktawatch run --once
oktawatch status
stat -c '%U %n' /var/lib/oktawatch/oktawatch.db
grep -h '^LoadCredential' /etc/systemd/system/oktawatch*.service
! grep -r "$TOKEN" /etc/oktawatch
"""


def test_a_service_is_set_up_and_every_command_works(org: SimulatedOrg) -> None:
    """On a machine without running systemd, `init --systemd` sets everything up and checks it as the service user."""
    with running(org) as url:
        done = run_privately(SET_UP, {"URL": url, "TOKEN": org.token})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The token is encrypted with the key of this machine." in done.stdout
    assert "its System Log can be read" in done.stdout
    assert "oktawatch /var/lib/oktawatch/oktawatch.db\n" in done.stdout
    assert done.stdout.count("\nLoadCredentialEncrypted=okta.token:/etc/oktawatch/okta.token.cred") == 2
    assert org.token not in done.stdout + done.stderr
