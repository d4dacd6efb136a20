"""Run the program in a separate folder, without this machine's environment variables."""

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support import launch
from tests.support.launch import environment
from tests.support.places import Place

PATIENCE = 60.0
"""Seconds after which a program counts as stuck."""

_TERMINAL = ("COLUMNS", "FORCE_COLOR", "NO_COLOR")


class Program:
    """Runs oktawatch in a folder."""

    def __init__(self, folder: Path, place: Place | None = None, *, cold: bool = False) -> None:
        """``place`` is the database, by default a file in the folder. ``cold`` starts a new interpreter."""
        self.cold = cold
        self.folder = folder
        self.place = place
        self.environment = environment(_TERMINAL) | (place.environment if place else {})

    def configure(self, *orgs: tuple[str, str, str], more: str = "") -> Path:
        """Write oktawatch.toml with these orgs (name, URL, token), after the text of ``more``."""
        tables = [
            f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{token}"\n' for name, url, token in orgs
        ]
        path = self.folder / "oktawatch.toml"
        path.write_text("\n".join([more, *tables]), encoding="utf-8")
        return path

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command until it exits."""
        return launch.run(
            arguments,
            cwd=self.folder,
            environ=self.environment | variables,
            cold=self.cold,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=PATIENCE,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed, and return the JSON document that it prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def started(self, *arguments: str, stderr: int = subprocess.PIPE) -> "Iterator[subprocess.Popen[str]]":
        """Start a command, and kill it at the end of the block."""
        with launch.launch(
            arguments,
            cwd=self.folder,
            environ=self.environment,
            cold=self.cold,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)

    def rows(self, query: str, database: str = "oktawatch.db") -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        if self.place:
            return self.place.ask(query)
        with closing(sqlite3.connect(self.folder / database)) as connection:
            return connection.execute(query).fetchall()

    def change(self, statement: str, *values: Any) -> None:
        """Run a statement on the program's database."""
        with closing(sqlite3.connect(self.folder / "oktawatch.db")) as connection, connection:
            connection.execute(statement, values)


def errors(stderr: str) -> list[str]:
    """Return the error lines of standard error."""
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition outside of this process holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "timed out waiting for the condition"
        time.sleep(0.05)
