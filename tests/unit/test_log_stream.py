"""Logging never waits for a reader of the log."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oktawatch.log_stream import LARGEST_BACKLOG, LogStream

PATIENCE_S = 10


@contextmanager
def _pipe() -> "Iterator[tuple[LogStream, int]]":
    """Open a log stream that writes to a pipe. Yield it and the read end of the pipe."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123 -- a descriptor has no path
        yield LogStream(stream, lambda lines: f"dropped {lines}"), reader
        os.close(reader)


def _read(reader: int, *, until: bytes) -> list[str]:
    data = b""
    deadline = time.monotonic() + PATIENCE_S
    while until not in data:
        assert time.monotonic() < deadline, "timed out waiting for a log line"
        data += os.read(reader, 65_536)
    return data.decode().splitlines()


def test_a_line_is_written_before_the_call_returns() -> None:
    """Log lines and other output keep their order."""
    with _pipe() as (log, reader):
        for number in range(100):
            log.write(f"line {number}")
            os.set_blocking(reader, False)
            assert os.read(reader, 100) == f"line {number}\n".encode()


def test_a_full_pipe_does_not_block() -> None:
    """Lines beyond the backlog are dropped, and their number is written when the reader reads again."""
    line = "x" * 1_000
    lines = 3 * LARGEST_BACKLOG // len(line)
    with _pipe() as (log, reader):
        begun = time.monotonic()
        for _ in range(lines):
            log.write(line)
        seconds = time.monotonic() - begun
        read = _read(reader, until=b"dropped")

    assert seconds < 2
    assert LARGEST_BACKLOG // len(line) <= read.count(line) < lines
    assert read[-1] == f"dropped {lines - read.count(line)}"


def test_lines_are_written_again_after_a_stall() -> None:
    """After a stall, the number of dropped lines is written, and then the new lines."""
    with _pipe() as (log, reader):
        for _ in range(3_000):
            log.write("x" * 1_000)
        _read(reader, until=b"dropped")
        log.write("again")
        assert _read(reader, until=b"again\n") == ["again"]


@pytest.mark.parametrize("drained", [True, False])
def test_a_stuck_reader_does_not_delay_the_exit(*, drained: bool) -> None:
    """At exit, the last log lines are written, unless their reader is stuck for half a second."""
    code = (
        "import sys; from oktawatch.log_stream import LogStream; log = LogStream(sys.stderr, str)\n"
        "for number in range(500): log.write(f'{number} ' + 'x' * 1_000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        if drained:
            assert process.stderr is not None
            assert process.stderr.read().splitlines()[-1].startswith(b"499 ")
        assert process.wait(PATIENCE_S) == 0
