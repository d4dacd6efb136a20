"""Contain what the code of a user's rule raises."""

import threading


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is Ctrl-C's: Python raises that one in the main thread alone."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
