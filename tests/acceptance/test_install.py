"""Run the commands of docs/install.md and docs/operate.md in order, in a fresh environment.

The environment is outside of the repository and has only the wheel and its pinned dependencies, from the package index.
The commands are run by bash, as documented.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from oktawatch.simulator import SimulatedOrg, build, running
from tests.acceptance.test_operate import blocks
from tests.support.launch import environment

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "install.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
WALK = re.findall(r"^<!-- (walk[^\n]*) -->\n```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
"""The blocks of commands that the walk runs, each with its condition."""
DEFAULT_LISTEN = "127.0.0.1:9464"


class Machine:
    """A home folder with a wheel in it, and a shell."""

    def __init__(self, home: Path, listen: str) -> None:
        self.home = home
        self.folder = home
        (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(home), versions=["standard"])
        assert Path(wheel).parent == home
        shutil.copy(ROOT / "requirements.txt", home)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(60)
        self.manager.bind(str(home / "notify"))
        self.environ = environment(("PYTHON", "XDG_")) | {
            "HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OKTAWATCH__SERVICE__LISTEN": listen,
        }  # fmt: skip
        del self.environ["PYTHONWARNINGS"]
        (home / "bin").mkdir()
        (home / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
        self.environ["PATH"] = f"{home}/bin:{os.defpath}"

    def install_dependencies(self) -> None:
        """Install the pinned dependencies, with the package index and the cache of the user who runs the tests.

        uv takes seconds, and ignores pip.conf. So pip is the fallback for private indexes, as in the Makefile.
        """
        python = str(self.home / "oktawatch/bin/python")
        arguments = ["--quiet", "--require-hashes", "-r", str(self.home / "requirements.txt")]
        environ = environment(("PYTHON",)) | {"PYTHONWARNINGS": ""}
        uv = Path(sysconfig.get_path("scripts")) / "uv"
        with_uv = [str(uv), "pip", "install", "--python", python, *arguments]
        if uv.exists() and subprocess.run(with_uv, cwd=self.home, env=environ, check=False).returncode == 0:
            return
        subprocess.run([python, "-m", "pip", "install", *arguments], cwd=self.home, env=environ, check=True)

    def run(self, script: str) -> str:
        """Run commands with bash in the current folder, which they can change; return their output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'{script}\npwd > "$HOME/.folder"; echo "$PATH" > "$HOME/.path"'],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        self.folder = Path((self.home / ".folder").read_text("utf-8").rstrip("\n"))
        self.environ["PATH"] = (self.home / ".path").read_text("utf-8").rstrip("\n")
        return done.stdout

    def run_or_query(self, command: str) -> None:
        """Run a command, or an SQL query on the database."""
        if command.startswith("SELECT"):
            with closing(sqlite3.connect(self.folder / "oktawatch.db")) as connection:
                connection.execute(command).fetchall()
        else:
            self.run(command)

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Run `oktawatch run` under a fake systemd, and wait until it is ready."""
        daemon = subprocess.Popen(
            ["oktawatch", "run"], executable=str(self.home / "oktawatch/bin/oktawatch"), cwd=self.folder, stderr=subprocess.DEVNULL,
            env=self.environ | {"NOTIFY_SOCKET": str(self.home / "notify")},
        )  # fmt: skip
        try:
            while "READY=1" not in self.manager.recv(4096).decode():
                pass
            yield
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0


@pytest.fixture
def listen() -> str:
    """Return an address with a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture
def machine(tmp_path: Path, listen: str) -> Iterator[Machine]:
    """Prepare a machine."""
    prepared = Machine(tmp_path, listen)
    yield prepared
    prepared.manager.close()


@pytest.mark.slow
def test_the_commands_of_the_guides_work(machine: Machine, listen: str) -> None:
    """Every command succeeds in the order of the guides, and the installed program is the wheel's."""
    org = SimulatedOrg()
    org.play(build(["anonymizing-vpn"], start=org.now()))
    walk = iter(WALK)
    with running(org) as url:
        _, install = next(walk)
        first, *rest = install.splitlines()
        machine.run(first)
        machine.install_dependencies()
        assert machine.run("\n".join(rest)).endswith("oktawatch 0.1.0\n")
        module = machine.run('oktawatch/bin/python -c "import oktawatch; print(oktawatch.__file__)"')
        assert Path(module.strip()).is_relative_to(machine.home / "oktawatch")
        for condition, block in walk:
            commands = block.replace(DEFAULT_LISTEN, listen).replace(
                "oktawatch init watch",
                f"printf '%s\\n' {org.token} | oktawatch init watch --url {url} --token -",
            )
            if condition == "walk":
                output = machine.run(commands)
                assert org.token not in output
                continue
            assert condition == "walk, while the daemon runs"
            with machine.daemon():
                assert 'oktawatch_events_total{org="127.0.0.1"}' in machine.run(commands)
        with machine.daemon():
            for command in (*blocks("operate.md"), *blocks("backup.md")):
                machine.run_or_query(command)
    made = {path.name for path in machine.folder.iterdir()}
    assert {"oktawatch.toml", "okta.token", "oktawatch.db", "report.html", "backup.db", "alerts.yml"} <= made
    assert "MEDIUM" in machine.run("oktawatch alerts list")


@pytest.mark.slow
def test_the_readmes_commands_work_with_a_simulated_org(tmp_path: Path, listen: str) -> None:
    """The README's commands work in their order, with the simulated org and the token that it prints."""
    simulate, walk = re.findall(
        r"^    (oktawatch simulate [^\n]*)\n.*?^<!-- walk -->\n```sh\n(.*?)^```$",
        README,
        re.MULTILINE | re.DOTALL,
    )[0]
    programs = Path(sysconfig.get_path("scripts"))
    environ = environment() | {"PATH": f"{programs}:{os.defpath}", "PYTHONWARNINGS": ""}
    port = listen.partition(":")[2]
    with subprocess.Popen(
        shlex.split(simulate.replace("8765", port)), executable=programs / "oktawatch", env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as simulated:  # fmt: skip
        assert simulated.stdout
        printed = next(line for line in simulated.stdout if line.startswith("#   token"))
        token = printed.split()[-1]
        init, *rest = walk.replace("8765", port).splitlines()
        script = "\n".join([f"printf '%s\\n' {token} | {init} --token -", *rest])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        simulated.send_signal(signal.SIGINT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MEDIUM" in done.stdout
    assert token not in done.stdout


def test_every_block_is_run_or_needs_another_machine() -> None:
    """Only blocks that need root, a registry, a container runtime or a cluster are not run."""
    commands = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    others = [block for block in commands if block not in {text for _, text in WALK}]
    assert all(re.search(r"^(sudo|pipx|podman|kubectl) ", block, re.MULTILINE) for block in others)
    assert len(WALK) >= 5
