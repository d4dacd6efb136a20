"""The watchdog of custom rules: a call that never returns ends the process, and the next process knows the rule."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oktawatch.engine import process_files
from oktawatch.engine.rule_watchdog import RuleWatchdog

PROGRAM = """\
import os, re, signal, sys, threading, time
from pathlib import Path
from oktawatch.engine import rule_watchdog

rule_watchdog.CALL_LIMIT_S = 0.2
watchdog = rule_watchdog.RuleWatchdog(Path(sys.argv[1]))
watchdog.arm()


def call(event, run):
    watchdog.begin("acme", "Acme.Rule", event, "page")
    run()
    watchdog.end()


def freeze():
    re.fullmatch("(a+)+b", "a" * 64)


"""


def ended(path: Path, body: str) -> int:
    """Run a program with a watchdog to its end; return its exit code."""
    done = subprocess.run([sys.executable, "-c", PROGRAM + body, str(path)], check=False, timeout=60)
    return done.returncode


def found(path: Path) -> str | None:
    """Return the event of the call that froze the last process."""
    watchdog = RuleWatchdog(path)
    try:
        return watchdog.frozen.event_uuid if watchdog.frozen else None
    finally:
        watchdog.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the watchdog's files."""
    return tmp_path / "state" / "rules"


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ("call('main', freeze)", "main"),
        # A thread holds the interpreter's lock: no other one runs.
        ("threading.Thread(target=call, args=('thread', freeze)).start(); time.sleep(60)", "thread"),
        # Other calls run while one hangs without the lock.
        (
            """\
threading.Thread(target=call, args=('hangs', threading.Event().wait), daemon=True).start()
while True: call('quick', lambda: time.sleep(0.01))
""",
            "hangs",
        ),
    ],
)
def test_a_call_that_never_returns_ends_the_process(path: Path, body: str, event: str) -> None:
    """The call ends the process, and the next process that uses the file finds the call until it arms its own watchdog."""
    assert ended(path, body) == -signal.SIGALRM
    assert found(path) == event
    assert found(path) == event
    assert ended(path, "watchdog.close()") == 0
    assert found(path) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_for_another_reason_leaves_no_frozen_call(
    path: Path, number: signal.Signals
) -> None:
    """A process that is killed while a rule runs leaves no frozen call."""
    assert ended(path, f"call('killed', lambda: os.kill(os.getpid(), {int(number)}))") == -number
    assert found(path) is None


def test_quick_calls_never_end_the_process(path: Path) -> None:
    """Quick calls never end the process, however many there are."""
    body = (
        "for _ in range(10_000): call('quick', bool)\ntime.sleep(0.4)\ncall('quick', bool)\nwatchdog.close()"
    )
    assert ended(path, body) == 0
    assert found(path) is None


def test_each_process_has_its_own_file(path: Path) -> None:
    """Each process uses its own file."""
    first, second = RuleWatchdog(path), RuleWatchdog(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["rules-0", "rules-1"]
    first.close()
    second.close()


def test_too_many_processes_are_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all files are in use, an error is raised, and rules run without a watchdog."""
    monkeypatch.setattr(process_files, "_FILES", 1)
    first = RuleWatchdog(path)
    with pytest.raises(OSError, match="more than 1 processes use"):
        RuleWatchdog(path)
    first.close()
