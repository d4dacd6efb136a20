"""Write log lines to a stream without blocking on a slow reader.

A full pipe, a stopped terminal or a stuck journal blocks the process that writes to it. Therefore a thread writes the
lines. At most `LARGEST_BACKLOG` bytes are queued; further lines are dropped and counted. The caller waits for each line
up to 0.1 s, so that log lines and other output stay in order. If a line takes longer, no caller waits again before the
queue has become empty.
"""

import atexit
import contextlib
import io
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TextIO

LARGEST_BACKLOG = 1024 * 1024
"""The maximum number of queued bytes. Further lines are dropped."""
_HANDOFF_S = 0.1
_FLUSH_AT_EXIT_S = 0.5


class LogStream:
    """A text stream for log lines. A line that can't be written is dropped."""

    def __init__(self, stream: TextIO, describe_dropped: Callable[[int], str]) -> None:
        """``describe_dropped`` returns the log line that reports how many lines were dropped."""
        self._stream = stream
        self._describe_dropped = describe_dropped
        self._lock = (
            threading.RLock()
        )  # reentrant, because a signal handler can log while its thread is logging
        blocking_fd = _blocking_fd(stream)
        self._writer = None if blocking_fd is None else _writer(blocking_fd)

    def write(self, line: str) -> None:
        """Write a line and a line break."""
        encoding = self._stream.encoding or "utf-8"
        data = f"{line}\n".encode(encoding, "backslashreplace")
        if self._writer is not None:
            if not self._stream.closed:  # the descriptor of a closed stream can belong to another file
                self._writer.write(data, self._describe_dropped)
            return
        # The caller must not fail because the reader is gone.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(data.decode(encoding))
            self._stream.flush()

    # structlog calls the method with the name of the level.
    debug = info = warning = error = critical = write


def _blocking_fd(stream: TextIO) -> int | None:
    """Return the file descriptor of a pipe, socket or terminal. None for a file or an in-memory stream."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        fd = stream.fileno()
        return None if stat.S_ISREG(os.fstat(fd).st_mode) else fd
    except (OSError, ValueError):  # closed or in-memory
        return None


@cache
def _writer(fd: int) -> "_BackgroundWriter":
    return _BackgroundWriter(fd)


class _BackgroundWriter:
    """Writes to a file descriptor in a thread, which delays the exit of the process only briefly."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._backlog = 0  # bytes
        self._dropped = 0
        self._describe_dropped: Callable[[int], str] = str
        self._stuck = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="oktawatch-log", daemon=True).start()
        atexit.register(self._wait_until_written, _FLUSH_AT_EXIT_S)

    def write(self, data: bytes, describe_dropped: Callable[[int], str]) -> None:
        """Queue a line. Wait briefly until it is written, unless the reader is stuck."""
        with self._changed:
            self._describe_dropped = describe_dropped
            if self._backlog + len(data) > LARGEST_BACKLOG:
                self._dropped += 1
                return
            self._append(data)
            if not self._stuck:
                self._stuck = not self._wait_until_written(_HANDOFF_S)

    def _append(self, data: bytes) -> None:
        self._lines.append(data)
        self._backlog += len(data)
        self._changed.notify_all()

    def _wait_until_written(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                data = self._lines[0]
            # Bypass the stream: at exit the interpreter would wait for the lock of its buffer.
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(self._fd, data) :]
            with self._changed:
                self._written()

    def _written(self) -> None:
        self._backlog -= len(self._lines.popleft())
        if self._lines:
            return
        self._stuck = False
        if self._dropped:
            line, self._dropped = self._describe_dropped(self._dropped), 0
            self._append(f"{line}\n".encode(errors="backslashreplace"))
        self._changed.notify_all()
