"""A script, run by `launch.py`, that imports all of oktawatch and forks a process for each requested program.

A request arrives through the socket on standard input: arguments, folder and environment as JSON, with the new program's
three standard files. The answer is its process id. The new program is a grandchild whose parent has ended, so
it becomes a child of the test process, which is a subreaper. From there on, it runs like `python -m oktawatch`.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

SIZE = 1 << 20
"""Maximum bytes of a request."""


def import_everything() -> None:
    """Import everything that a program imports, except its main module, and build its command line."""
    import oktawatch.cli.main

    for module in pkgutil.walk_packages(oktawatch.__path__, "oktawatch."):
        if module.name != "oktawatch.__main__":
            importlib.import_module(module.name)
    oktawatch.cli.main.command_line()  # kept by the module


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a program for each request. Return the request in the new program, and None after the last request."""
    while True:
        body, files, _, _ = socket.recv_fds(requests, SIZE, 3)
        if not body:
            return None
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            if (program := os.fork()) > 0:
                os.write(theirs, str(program).encode())
                os._exit(0)
            requests.detach()  # its descriptor, 0, becomes the new program's standard input
            os.close(ours)
            os.close(theirs)
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            request: dict[str, Any] = json.loads(body)
            return request
        os.close(theirs)
        for file in files:
            os.close(file)
        os.waitpid(child, 0)
        requests.sendall(os.read(ours, 32))
        os.close(ours)


def apply_request(request: dict[str, Any]) -> None:
    """Set the folder, umask, environment and arguments of the requested program."""
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["oktawatch", *request["arguments"]]
    sys.path.insert(0, str(Path.cwd()))
    sys.stdin = sys.__stdin__ = _opened(0, sys.stdin)  # type: ignore[misc]  # final in its types
    sys.stdout = sys.__stdout__ = _opened(1, sys.stdout)  # type: ignore[misc]  # final in its types
    sys.stderr = sys.__stderr__ = _opened(2, sys.stderr)  # type: ignore[misc]  # final in its types


def _opened(number: int, like: Any) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does at its start, with the encoding and buffering of ``like``."""
    unbuffered = like.write_through and number > 0
    stream = open(number, "wb" if number else "rb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115 -- it lives as long as the process
    return io.TextIOWrapper(
        stream,
        like.encoding,
        errors=like.errors,
        line_buffering=number == 2 or stream.isatty(),
        write_through=like.write_through,
    )


def run() -> None:
    """Run the program. At its end, run its exit handlers and collect its garbage, but leave the imported modules.

    Destroying them touches all the shared pages, which takes most of a short program's processor time.
    """
    try:
        runpy.run_module("oktawatch", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, like the interpreter
    atexit._run_exitfuncs()
    gc.collect()  # reports what was not closed
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # lets the interpreter report the error itself
    os._exit(code & 0xFF)


if __name__ == "__main__":
    import_everything()
    gc.freeze()  # so that the imported modules stay in memory pages that all programs share
    with socket.socket(fileno=0) as requests:
        request = serve(requests)
    if request is not None:
        apply_request(request)
        run()
