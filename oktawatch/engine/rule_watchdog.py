"""End the process when a custom rule freezes it, and record the rule and the event.

A regular expression with catastrophic backtracking holds the GIL, so no other thread can interrupt it. A kernel
timer doesn't need the GIL. It is armed while a custom rule runs, and its signal, SIGALRM, ends the process. Before
that, faulthandler, which doesn't need the GIL either, appends the traceback to a small file. The beginning of that
file is mapped into memory and contains the running calls.

The next process finds the file unlocked. If it contains a traceback, one of the calls froze the process. Otherwise
the process ended for another reason, and no rule is blamed.
"""

import contextlib
import faulthandler
import mmap
import os
import signal
import threading
import time
from pathlib import Path

import msgspec

from oktawatch.engine.process_files import lock_free_file
from oktawatch.model.left_out import FrozenCall

CALL_LIMIT_S = 8.0
"""Seconds after which a call of a rule's method counts as frozen."""
_SLOTS = 16  # threads that evaluate pages at once; at least the number of database connections
_SLOT = 4096  # bytes for the running call of one thread


class RuleWatchdog:
    """Watches the rules that run in this process. Keeps its file locked."""

    def __init__(self, path: Path) -> None:
        """Lock the first of the files ``PATH-0``, ``PATH-1``, … that no other process uses. Raises OSError."""
        self._file = lock_free_file(path)
        self.frozen = self._read()
        """The call that froze the last process that used this file. None if no call did."""
        self._lock = threading.Lock()
        self._slots: dict[int, int] = {}
        """The slot of each thread, by its id."""
        self._deadlines: dict[int, float] = {}
        """The deadlines of the running calls, by slot."""
        self._map: mmap.mmap | None = None

    def arm(self) -> None:
        """Clear the file and start watching. Call this in the main thread."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, _SLOTS * _SLOT)
        os.lseek(self._file, 0, os.SEEK_END)  # the traceback follows the slots
        self._map = mmap.mmap(self._file, _SLOTS * _SLOT)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=self._file, all_threads=True, chain=True)

    def close(self) -> None:
        """Stop watching and unlock the file."""
        if self._map is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.unregister(signal.SIGALRM)
            self._map.close()
        os.close(self._file)

    def begin(self, org: str, rule_id: str, event_uuid: str, page_uuid: str) -> None:
        """Record that a rule's method is about to run in this thread, and arm the timer."""
        call = FrozenCall(
            org=org, rule_id=rule_id, event_uuid=event_uuid, page_uuid=page_uuid, began=time.monotonic()
        )
        written = msgspec.json.encode(call)
        thread = threading.get_ident()
        with self._lock:
            slot = self._slots.get(thread)
            if slot is None:
                slot = self._slots[thread] = len(self._slots) % _SLOTS
            if self._map is not None and len(written) < _SLOT:
                start = slot * _SLOT
                self._map[start : start + len(written) + 1] = written + b"\0"
            if not self._deadlines:
                signal.setitimer(signal.ITIMER_REAL, CALL_LIMIT_S)
            self._deadlines[slot] = call.began + CALL_LIMIT_S

    def end(self) -> None:
        """Record that the method in this thread has returned. Disarm the timer unless other methods are running."""
        with self._lock:
            slot = self._slots[threading.get_ident()]
            if self._map is not None:
                self._map[slot * _SLOT] = 0
            self._deadlines.pop(slot, None)
            left = 0.0
            if self._deadlines:
                left = max(min(self._deadlines.values()) - time.monotonic(), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left)

    def _read(self) -> FrozenCall | None:
        """Return the call that ran longest if the file contains a traceback, else None."""
        length = _SLOTS * _SLOT
        if os.fstat(self._file).st_size <= length:
            return None
        content = os.pread(self._file, length, 0)
        calls = []
        for start in range(0, length, _SLOT):
            written = content[start : start + _SLOT].partition(b"\0")[0]
            with contextlib.suppress(msgspec.MsgspecError):
                calls.append(msgspec.json.decode(written, type=FrozenCall))
        return min(calls, key=lambda call: call.began, default=None)
