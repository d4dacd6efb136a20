"""The program itself, run as people run it, in a folder of its own and without this machine's variables."""

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
"""Seconds for anything to happen; what takes so long is stuck."""

_TERMINAL = ("COLUMNS", "FORCE_COLOR", "NO_COLOR")


class Program:
    """Runs oktawatch in one folder."""

    def __init__(self, folder: Path, place: Place | None = None, *, cold: bool = False) -> None:
        """``place``: where its database is, by default a file in its folder; ``cold`` starts a new interpreter."""
        self.cold = cold
        self.folder = folder
        self.place = place
        self.environment = environment(_TERMINAL) | (place.environment if place else {})

    def configure(self, *orgs: tuple[str, str, str], more: str = "") -> Path:
        """Write oktawatch.toml with these orgs: name, URL, token. ``more`` comes before them."""
        tables = [
            f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{token}"\n' for name, url, token in orgs
        ]
        path = self.folder / "oktawatch.toml"
        path.write_text("\n".join([more, *tables]), encoding="utf-8")
        return path

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
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
        """Run a command that must succeed; give the JSON document that it prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def started(self, *arguments: str, stderr: int = subprocess.PIPE) -> "Iterator[subprocess.Popen[str]]":
        """Start a command; whatever happens, it has ended when the block has."""
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
        """Ask the database, as a person with SQL would."""
        if self.place:
            return self.place.ask(query)
        with closing(sqlite3.connect(self.folder / database)) as connection:
            return connection.execute(query).fetchall()

    def change(self, statement: str, *values: Any) -> None:
        """Change the database behind the program's back."""
        with closing(sqlite3.connect(self.folder / "oktawatch.db")) as connection, connection:
            connection.execute(statement, values)


def errors(stderr: str) -> list[str]:
    """Give the lines of standard error that are errors for people."""
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something outside of this process has happened."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.05)
