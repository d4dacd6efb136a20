"""Run the daemon as a process, with an environment like systemd's."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import launch
from tests.support.places import Place

PATIENCE = 30.0
"""Seconds after which a test stops waiting."""
STOPS_WITHIN = 5.0
"""Seconds in which the daemon must stop."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until another process has made a condition true. ``what`` describes it in the error."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.02)


class Daemon:
    """``python -m oktawatch run`` with a configuration, a fake systemd and a JSON log."""

    def __init__(
        self,
        where: Path | Place,
        text: str,
        *,
        watchdog: float | None = None,
        cold: bool = False,
        sitecustomize: str = "",
        stderr: int | None = None,
        listen: str | None = "",
    ) -> None:
        """Write the configuration.

        ``listen`` is the address of the metrics. By default there is none, because tests run in parallel. None: the
        configuration decides.

        ``watchdog`` is systemd's time-out in seconds. ``cold`` starts a new interpreter. ``sitecustomize`` is Python
        code that the process runs first, in a new interpreter. ``stderr`` is a file descriptor to use instead of the
        log file.
        """
        place = where if isinstance(where, Place) else None
        folder = where.folder if isinstance(where, Place) else where
        self.database = folder / "oktawatch.db"
        self._config = folder / "oktawatch.toml"
        self._config.write_text(text, "utf-8")
        self._arguments = ["run", "--config", str(self._config)]
        self._cold = cold
        self._log = folder / "daemon.log"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.settimeout(PATIENCE)
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._manager.bind(str(address))
        self._environ = launch.environment() | {"NOTIFY_SOCKET": str(address)}
        self._environ |= place.environment if place else {}
        if listen is not None:
            self._environ["OKTAWATCH__SERVICE__LISTEN"] = listen
        if watchdog is not None:
            self._environ["WATCHDOG_USEC"] = str(int(watchdog * 1_000_000))
        if sitecustomize:
            (folder / "sitecustomize.py").write_text(sitecustomize, "utf-8")
            self._environ["PYTHONPATH"] = str(folder)
        self._stderr = stderr
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon."""
        with self._log.open("wb") as log:
            self._process = launch.launch(
                self._arguments, environ=self._environ, cold=self._cold, stderr=self._stderr or log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the process if it still runs."""
        self.process.kill()
        self.process.wait()
        self._manager.close()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process."""
        assert self._process is not None
        return self._process

    def run_another(self) -> "subprocess.CompletedProcess[str]":
        """Run a second daemon with the same configuration until it ends."""
        environ = {key: value for key, value in self._environ.items() if key != "NOTIFY_SOCKET"}
        return launch.run(
            self._arguments,
            environ=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
        )

    def wait_for_message(self, message: str) -> None:
        """Wait until the fake systemd receives this message, skipping others."""
        while self.message() != message:
            pass

    def message(self) -> str:
        """Return the next message that the fake systemd receives."""
        return self._manager.recv(4096).decode()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal. Return the exit code and the seconds until the exit."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        seconds = time.monotonic() - begun
        assert self.events("jobs_left_running") == [], "it ended while jobs were still running"
        return code, seconds

    @property
    def log(self) -> list[dict[str, Any]]:
        """The JSON log lines up to now."""
        return [json.loads(line) for line in self._lines if line.startswith("{")]

    @property
    def errors(self) -> list[str]:
        """The plain lines of standard error up to now."""
        return [line for line in self._lines if not line.startswith("{")]

    @property
    def _lines(self) -> list[str]:
        return self._log.read_text("utf-8").rpartition("\n")[0].splitlines()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines with this event name."""
        return [line for line in self.log if line["event"] == name]

    def logged(self, name: str) -> dict[str, Any]:
        """Wait for a log line with this event name."""
        until(lambda: bool(self.events(name)), f"{name} in the log")
        return self.events(name)[0]
