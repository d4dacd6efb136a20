"""The daemon continues to poll when the machine's clock is set."""

from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until

pytestmark = pytest.mark.waits

SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlog_format = "json"\n'
YEAR = 365 * 24 * 3600
LARGEST_MB = 400
SET_CLOCK = """
import pathlib, threading, time
import time_machine

clock = time_machine.travel(time.time()).start()

def follow():
    jumps = pathlib.Path({jumps!r})
    made = 0
    while True:
        lines = jumps.read_text().splitlines()
        for line in lines[made:]:
            clock.shift(float(line))
        made = len(lines)
        time.sleep(0.05)

threading.Thread(target=follow, daemon=True).start()
"""


def test_polling_continues_when_the_clock_is_set(tmp_path: Path) -> None:
    """The clock is set back by two hours, forward by twenty years, and corrected. Each change is logged, and SIGTERM ends the daemon."""
    jumps = tmp_path / "jumps"
    jumps.write_text("")
    org = SimulatedOrg()

    def jump(seconds: float) -> None:
        before, logged = len(org.requests), len(daemon.events("clock_jumped"))
        with jumps.open("a") as file:
            file.write(f"{seconds}\n")
        until(lambda: len(daemon.events("clock_jumped")) > logged, "the jump in the log")
        until(lambda: len(org.requests) > before + 3, "polls after the jump")

    with running(org) as url:
        text = SETTINGS + f'[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{org.token}"\n'
        with Daemon(tmp_path, text, sitecustomize=SET_CLOCK.format(jumps=str(jumps))) as daemon:
            until(lambda: bool(org.requests), "the first poll")
            for seconds in (-7200, 20 * YEAR, -20 * YEAR + 7200):
                jump(seconds)
            memory = _memory_mb(daemon.process.pid)
            code, seconds_to_stop = daemon.stop()

    assert [round(line["seconds"] / 10) for line in daemon.events("clock_jumped")] == [
        -720, 2 * YEAR, -2 * YEAR + 720,
    ]  # fmt: skip
    assert memory < LARGEST_MB
    assert (code, seconds_to_stop < STOPS_WITHIN) == (0, True)
    assert daemon.events("poll_failed") == []


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
