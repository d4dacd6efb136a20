"""The two cores: the server on one, the client under test on the other; and how each of them is started.

The parent pins itself to the client's core before it starts a client, which inherits that, and
then only waits.
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
    """A program under test ended badly; says how."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """What a client needs to know: where the org is, the window that holds all events, and what is in it."""

    url: str
    since: str
    until: str
    events: int
    matches: int
    page_bytes: int
    """The mean size of a page on the wire."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that has built its pages and answers."""

    ready: Ready
    process: subprocess.Popen[str]

    def cpu_seconds(self) -> float | None:
        """Return the processor time that it has used so far; None where /proc does not say."""
        try:
            # The fields after the program's name, which is in brackets and can hold spaces: proc(5).
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(core: int) -> bool:
    """Keep this process, and what it starts from now on, on one core; False where that can't be done."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) <= core:
        return False
    os.sched_setaffinity(0, {core})
    return True


@contextlib.contextmanager
def serving(count: int, *, gzipped: bool, seed: int) -> Iterator[RunningServer]:
    """Run a server of `count` events for the block; it ends when its standard input does."""
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
                raise ClientError("the server of prebuilt pages ended before it was ready")
            yield RunningServer(Ready(**json.loads(line)), process)
        finally:
            process.stdin.close()


def environment() -> dict[str, str]:
    """Return the environment for a client: this one, without what could point oktawatch at another org."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OKTA_", "OKTAWATCH_"))}


def measured(arguments: list[str]) -> dict[str, Any]:
    """Run a contender (`python -m …`); return the JSON on its last line. ClientError when it failed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClientError(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def facts(*, pinned: bool) -> dict[str, Any]:
    """Return what the numbers depend on: the machine, Python, the libraries."""
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
    """Write a result, with the moment in its name; return where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
