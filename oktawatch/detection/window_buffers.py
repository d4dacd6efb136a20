"""Buffers of each key's recent events, in order of time, for windowed rules.

``WindowBuffers`` may be cached from page to page. A ``WindowScan`` is one page's pass over them. The scan, not the
buffers, remembers which events were examined, because a later page may have to report the same match again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from oktawatch.detection.rule import Key
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import shifted

Buffer = list[HistoryRow]
"""The events of one key in order of (published, uuid)."""

_NEW, _EXAMINED, _MATCHED = b"\0", b"\1", b"\2"


class WindowBuffers:
    """The buffers of one rule, by key."""

    def __init__(self) -> None:
        self._buffers: dict[Key, Buffer] = {}

    def buffer(self, key: Key) -> Buffer:
        """Return the buffer of a key, not a copy. A new key gets an empty buffer."""
        return self._buffers.setdefault(key, [])

    def insert(self, keyed_rows: Iterable[tuple[Key, HistoryRow]]) -> None:
        """Insert events into the buffers of their keys."""
        for key, row in keyed_rows:
            insert(self.buffer(key), row)

    def delete_before(self, moment: str) -> None:
        """Delete all events before a point in time and all buffers that become empty."""
        self._buffers = {
            key: buffer for key, buffer in self._buffers.items() if buffer and buffer[-1].published >= moment
        }
        for buffer in self._buffers.values():
            if buffer[0].published < moment:
                del buffer[: bisect_left(buffer, moment, key=_published)]


class WindowScan:
    """One pass over the windows that a page's events change: those that end with them, and later ones that contain them."""

    def __init__(
        self,
        buffers: WindowBuffers,
        window: timedelta,
        holds: Callable[[Sequence[HistoryRow]], bool],
        *,
        fewest: int = 1,
    ) -> None:
        """``fewest`` is the size of the smallest window for which ``holds`` can be true."""
        self._buffers = buffers
        self._window = window
        self._holds = holds
        self._fewest = fewest
        self._states: dict[Key, bytearray] = {}
        """By key, one byte for each event of the buffer: new, examined without a match, or matched."""

    def insert(self, key: Key, row: HistoryRow) -> Iterable[tuple[HistoryRow, Sequence[HistoryRow]]]:
        """Insert the next event of the stream. Return the events that now match, with their windows.

        Iterate over the whole result: the iteration may be what inserts the event.

        A scan returns each event at most once, and examines it again only if its window has changed.
        """
        buffer = self._buffers.buffer(key)
        others = self._fewest - 1
        is_newest = not buffer or buffer[-1].published < row.published
        if others and is_newest and (len(buffer) < others or self._is_outside(buffer[-others], row)):
            # The usual case: no later window contains this event, and its own is too small to match.
            buffer.append(row)
            return ()
        return self._matches(buffer, self._states.setdefault(key, bytearray()), row)

    def _is_outside(self, earlier: HistoryRow, row: HistoryRow) -> bool:
        """Return whether ``earlier`` is too old for the window of ``row``."""
        return earlier.published < shifted(row.published, -self._window)

    def _matches(
        self, buffer: Buffer, states: bytearray, row: HistoryRow
    ) -> Iterator[tuple[HistoryRow, Sequence[HistoryRow]]]:
        # Events that were in the buffer before, or that `WindowScan.insert` appended, are not yet examined.
        states.extend(bytes(len(buffer) - len(states)))
        first, is_new = insert(buffer, row)
        if is_new:
            states[first:first] = _NEW
        end = len(buffer)
        if first + 1 < end:
            end = bisect_right(buffer, shifted(row.published, self._window), key=_published)
        if is_new:
            states[first:end] = states[first:end].replace(_EXAMINED, _NEW)
        at = states.find(_NEW, first, end)
        while at >= 0:
            start = bisect_left(buffer, shifted(buffer[at].published, -self._window), key=_published)
            window = buffer[start : at + 1]
            matched = len(window) >= self._fewest and self._holds(window)
            states[at : at + 1] = _MATCHED if matched else _EXAMINED
            if matched:
                yield buffer[at], window
            at = states.find(_NEW, at + 1, end)


def insert(buffer: Buffer, row: HistoryRow) -> tuple[int, bool]:
    """Insert an event in order unless the buffer has it; return its index and whether it was inserted."""
    at = len(buffer)
    if buffer and buffer[-1].published >= row.published:  # rare: most events arrive in order of time
        key = _order(row)
        at = bisect_left(buffer, key, key=_order)
        if at < len(buffer) and _order(buffer[at]) == key:
            return at, False
    buffer.insert(at, row)
    return at, True


def _order(row: HistoryRow) -> tuple[str, str]:
    return (row.published, row.uuid)


def _published(row: HistoryRow) -> str:
    return row.published
