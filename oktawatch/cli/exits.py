"""Exit codes and the command line's own errors."""

DONE = 0
FAILED = 1
"""The command ran and something failed."""
USAGE = 2
"""Invalid usage or configuration. Nothing was changed."""
INTERRUPTED = 130
"""Ctrl-C: 128 plus the number of SIGINT, as in shells."""


class UsageError(Exception):
    """An invalid command line. The message is one line: the problem, its place and how to fix it."""


class OutputError(Exception):
    """Standard output can't be written. The message is one line."""
