"""Start the server and the clients, each on a separate core.

The parent pins itself to the client's core before it starts a client, which inherits the pinning. Then it only waits.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import os
import pathlib
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

CLIENT_CORE = 0
SERVER_CORE = 1
ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


class ClientError(Exception):
    """A program under test failed. The message contains the reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """The parameters of a client: the org's URL, the window with all events, and the expected counts."""

    url: str
    since: str
    until: str
    events: int
    matches: int
    page_bytes: int
    """The mean size of a page on the wire."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready to answer."""

    ready: Ready
    process: subprocess.Popen[str]

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of the server so far. None without /proc."""
        try:
            # The fields after the program's name, which is in brackets and can contain spaces: proc(5).
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(core: int) -> bool:
    """Pin this process and its future children to a core. Return False if that isn't possible."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) <= core:
        return False
    os.sched_setaffinity(0, {core})
    return True


@contextlib.contextmanager
def serving(count: int, *, gzipped: bool, seed: int) -> Iterator[RunningServer]:
    """Run a server with `count` events during the block. The server exits when its standard input closes."""
    command = [sys.executable, "-m", "benchmarks.server", "--events", str(count), "--seed", str(seed)]
    with subprocess.Popen(
        command + ["--gzip"] * gzipped,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise ClientError("the server exited before it was ready")
            yield RunningServer(Ready(**json.loads(line)), process)
        finally:
            process.stdin.close()


def environment() -> dict[str, str]:
    """Return the environment for a client, without variables that configure oktawatch."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OKTA_", "OKTAWATCH_"))}


def measured(arguments: list[str]) -> dict[str, Any]:
    """Run a contender (`python -m …`), and parse the JSON in its last line. Raises ClientError if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClientError(f"{arguments[0]} exited with {done.returncode}: {done.stderr.strip()[-2000:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def facts(*, pinned: bool) -> dict[str, Any]:
    """Return the conditions of the measurement: the machine, Python and the libraries."""
    packages = ("aiohttp", "isal", "msgspec", "okta", "orjson", "sqlalchemy")
    return {
        "cores": os.cpu_count(),
        "pinned": pinned,
        "load": os.getloadavg()[0],
        "folder": tempfile.gettempdir(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: metadata.version(name) for name in packages},
    }


def save(name: str, document: dict[str, Any]) -> pathlib.Path:
    """Write a result to a file with a timestamp in its name, and return the path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
