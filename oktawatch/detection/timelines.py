"""The events of a key in order of time: what windowed rules look at.

Timelines can be kept from page to page. Which events were looked at belongs to one *reading*, of one
page: in the next one everything may be looked at again, since its match may have to be told by then.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from oktawatch.detection.rule import Key
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import shifted

_NEW, _SEEN, _MATCHED = b"\0", b"\1", b"\2"


class Timeline:
    """The events of one key in order of (published, uuid), and which of them have been looked at."""

    __slots__ = ("_reading", "_states", "rows")

    def __init__(self) -> None:
        self.rows: list[HistoryRow] = []
        self._states = bytearray()
        self._reading: object = None

    def remember(self, row: HistoryRow) -> tuple[int, bool]:
        """Put a row into its place; give that, and whether the row is new. What is there stays as it is."""
        rows = self.rows
        at = len(rows)
        if rows and rows[-1].published >= row.published:  # hardly ever: events come in order of time
            place = _place(row)
            at = bisect_left(rows, place, key=_place)
            if at < len(rows) and _place(rows[at]) == place:
                return at, False
        rows.insert(at, row)
        self._states.insert(at, _NEW[0])
        return at, True

    def arrived(
        self,
        row: HistoryRow,
        window: timedelta,
        holds: Callable[[Sequence[HistoryRow]], bool],
        *,
        fewest: int = 1,
        reading: object = None,
    ) -> Iterator[tuple[HistoryRow, Sequence[HistoryRow]]]:
        """Take the next event of the stream; give the events that match now, with their windows.

        Each event is given once a ``reading``. One that was looked at and has no new event in its window
        is not looked at again: a page that is read a second time costs no more than the first time.
        ``fewest``: the smallest window that can hold.
        """
        if reading is not self._reading:
            self._states = bytearray(len(self.rows))
            self._reading = reading
        first, new = self.remember(row)
        end = len(self.rows)
        if end < fewest:
            return
        if first + 1 < end:
            end = bisect_right(self.rows, shifted(row.published, window), key=_published)
        if new:
            self._states[first:end] = self._states[first:end].replace(_SEEN, _NEW)
        at = self._states.find(_NEW, first, end)
        while at >= 0:
            start = bisect_left(self.rows, shifted(self.rows[at].published, -window), key=_published)
            found = self.rows[start : at + 1]
            matched = len(found) >= fewest and holds(found)
            self._states[at] = (_MATCHED if matched else _SEEN)[0]
            if matched:
                yield self.rows[at], found
            at = self._states.find(_NEW, at + 1, end)

    def forget_before(self, moment: str) -> None:
        """Forget what lies before a point in time."""
        gone = bisect_left(self.rows, moment, key=_published)
        del self.rows[:gone], self._states[:gone]


class Timelines:
    """The timelines of a rule's keys. A key's only event has none yet: most keys never have a second."""

    def __init__(self, *, fewest: int = 1) -> None:
        """``fewest``: the smallest window that can hold."""
        self._fewest = fewest
        self._several: dict[Key, Timeline] = {}
        self._lone: dict[Key, HistoryRow] = {}

    def arriving(
        self, arrivals: Iterable[tuple[Key, HistoryRow]]
    ) -> Iterator[tuple[Key, HistoryRow, Timeline]]:
        """Take events that come; give those with their timelines that can match: ``remember`` or ``arrived`` is to follow.

        Of a key with fewer events than can match none was looked at, in this reading or before.
        """
        several, lone, fewest = self._several, self._lone, self._fewest
        for key, row in arrivals:
            timeline = several.get(key)
            if timeline is None:
                first = lone.setdefault(key, row) if fewest > 1 else None
                if first is row:
                    continue
                timeline = several[key] = Timeline()
                if first is not None:
                    del lone[key]
                    timeline.remember(first)
            if len(timeline.rows) + 1 < fewest:
                timeline.remember(row)
            else:
                yield key, row, timeline

    def remember(self, arrivals: Iterable[tuple[Key, HistoryRow]]) -> None:
        """Put rows into their places."""
        for _, row, timeline in self.arriving(arrivals):
            timeline.remember(row)

    def rows_of(self, key: Key) -> list[HistoryRow]:
        """Give the rows of a key."""
        timeline, lone = self._several.get(key), self._lone.get(key)
        return ([] if lone is None else [lone]) + ([] if timeline is None else timeline.rows)

    def forget_before(self, moment: str) -> None:
        """Forget what lies before a point in time."""
        self._lone = {key: row for key, row in self._lone.items() if row.published >= moment}
        self._several = {
            key: timeline for key, timeline in self._several.items() if timeline.rows[-1].published >= moment
        }
        for timeline in self._several.values():
            if timeline.rows[0].published < moment:
                timeline.forget_before(moment)


def _place(row: HistoryRow) -> tuple[str, str]:
    return (row.published, row.uuid)


def _published(row: HistoryRow) -> str:
    return row.published
