"""Start oktawatch processes quickly, by forking from a process that has imported everything.

Importing the Okta SDK and SQLAlchemy takes most of a second of CPU time, more than most programs that tests start do
afterwards. The forked program has its own arguments, folder, environment, standard files, signals and exit code. It
is a child of the test process like any other. A new interpreter starts instead with `cold=True`, with a changed variable
that an interpreter reads at its start, and for all programs with ``OKTAWATCH_TEST_COLD=1``, as in `make test-all`.
"""

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

COLD = os.environ.get("OKTAWATCH_TEST_COLD") == "1" or sys.platform != "linux"
_WARNINGS = "error,ignore:'imghdr' is deprecated:DeprecationWarning"
"""All warnings are errors, except the one that Apprise causes by checking whether imghdr exists."""
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "COVERAGE")
_PR_SET_CHILD_SUBREAPER = 36


def environment(foreign: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment without variables that configure oktawatch, and with warnings as errors."""
    ours = ("OKTA", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG", *foreign)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONWARNINGS": _WARNINGS}


def launch(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    cold: bool = False,
    **files: Any,
) -> "subprocess.Popen[Any]":
    """Start ``python -m oktawatch``. ``files`` are arguments of ``Popen`` such as ``stdout`` and ``text``."""
    command = [sys.executable, "-m", "oktawatch", *arguments]
    warm = not (cold or COLD) and _settings_of(environ) == _settings_of(environment())
    popen = _Forked if warm else subprocess.Popen
    return popen(command, cwd=cwd or Path.cwd(), env=environ, **files)


def run(
    arguments: Sequence[str], *, timeout: float, text: bool = True, typed: str | None = None, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """Run ``python -m oktawatch`` until it exits. ``typed`` is its standard input; ``options`` are those of `launch`."""
    stdin = None if typed is None else subprocess.PIPE
    with launch(arguments, text=text, stdin=stdin, **options) as process:
        try:
            stdout, stderr = process.communicate(typed, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _settings_of(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_READ_AT_START)}


class _WarmProgram:
    """The process that programs are forked from."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # programs become children of this process
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("warm_program.py"))],
            stdin=theirs.fileno(),
            env=environment(),
        )
        theirs.close()
        self._lock = threading.Lock()
        atexit.register(self._end)

    def fork(
        self, arguments: Sequence[str], folder: str, environ: Mapping[str, str], files: list[int]
    ) -> int:
        """Start a program, and return its process id."""
        os.umask(umask := os.umask(0o077))
        request = {"arguments": arguments, "folder": folder, "umask": umask, "environment": dict(environ)}
        with self._lock:
            socket.send_fds(self._ours, [json.dumps(request).encode()], files)
            return int(self._ours.recv(32))

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()


_warm_program = cache(_WarmProgram)


class _Forked(subprocess.Popen[Any]):
    """A forked program. Everything except its start is inherited from `Popen`."""

    def _execute_child(
        self, args: list[str], executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, cwd: Path,
        env: Mapping[str, str], startupinfo: Any, creationflags: Any, shell: bool,
        p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, *_: Any,
    ) -> None:  # fmt: skip
        files = [
            redirected if redirected != -1 else inherited
            for redirected, inherited in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2))
        ]
        self.pid = _warm_program().fork(args[3:], str(cwd), env, files)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]  # Popen's own, not in its types
