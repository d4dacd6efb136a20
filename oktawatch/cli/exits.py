"""What the program ends with, and the errors that only the command line knows."""

DONE = 0
FAILED = 1
"""It ran, and something failed."""
USAGE = 2
"""Wrong usage or configuration: nothing was touched."""
INTERRUPTED = 130
"""Ctrl-C: 128 and SIGINT's number, as shells count."""


class UsageError(Exception):
    """What was typed can't be done. The message is one line: what, where, how to mend it."""
