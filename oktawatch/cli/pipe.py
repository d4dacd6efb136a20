"""Write lines to standard output for another program, which may stop reading."""

import os
import stat
import sys
from collections.abc import Iterable
from typing import TextIO

from oktawatch.cli.exits import OutputError

READER_GONE = 141
"""The exit code if the reader has closed the pipe: 128 plus the number of SIGPIPE, as in shells."""


def write_lines(lines: Iterable[str]) -> bool:
    """Write and flush lines. Return False if the reader has closed the pipe.

    Raise OutputError if the lines can't be written. If standard output is a regular file, sync it to the disk.
    """
    output = sys.stdout
    try:
        for line in lines:
            output.write(f"{line}\n")
        output.flush()
        _sync(output)
    except BrokenPipeError:
        _abandon(output)
        return False
    except OSError as error:
        _abandon(output)
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"the export can't be written ({reason}): fix this, then run the same command again"
        ) from None
    return True


def _sync(output: TextIO) -> None:
    if stat.S_ISREG(os.fstat(output.fileno()).st_mode):
        os.fsync(output.fileno())


def _abandon(output: TextIO) -> None:
    """Send the rest of the buffer to /dev/null. Otherwise the interpreter would fail again when it exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, output.fileno())
    os.close(null)
