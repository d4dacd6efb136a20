"""The events of a key in order of time: what windowed rules look at.

``WindowBuffers`` keep them, from page to page if there is room. A ``Reading`` is one page's look at them, as
its events come: which events were looked at belongs to it alone, since in the next page's reading the
match of any of them may have to be told.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from oktawatch.detection.rule import Key
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import FIRST, LAST, shifted

_NEW, _SEEN, _MATCHED = b"\0", b"\1", b"\2"

Timeline = list[HistoryRow]
"""The events of one key in order of (published, uuid)."""


class WindowBuffers:
    """The timelines of a rule's keys. A key's only event stands there alone: most keys never have a second.

    Two generations of them: what a key has moves to the new one when its next event comes. So what is left
    in the old one can be forgotten at once, without a look at each event.
    """

    def __init__(self, window: timedelta, *, fewest: int = 1) -> None:
        """``fewest``: the smallest window that can hold."""
        self._window = window
        self._fewest = fewest
        self._new: dict[Key, HistoryRow | Timeline] = {}
        self._old: dict[Key, HistoryRow | Timeline] = {}
        self._grown: list[Timeline] = []
        """Those of the new generation that have more than an event, or had."""
        self._from, self._since = LAST, FIRST
        """A point in time, and the beginning of its window: those of later events begin no earlier."""

    def arriving(
        self, arrivals: Iterable[tuple[Key, HistoryRow]]
    ) -> Iterator[tuple[Key, HistoryRow, Timeline]]:
        """Take events that come; give those that are late or may match, before they are put into their timelines.

        The others have too few events in their windows, and there are no later ones of their keys.
        """
        new, old, grown = self._new, self._old, self._grown
        others = self._fewest - 1
        for key, row in arrivals:
            timeline = new.setdefault(key, row)
            if timeline is row:
                kept = old.pop(key, None)
                if kept is None:
                    if others:
                        continue
                    kept = []
                timeline = new[key] = kept if isinstance(kept, list) else [kept]
                grown.append(timeline)
            elif not isinstance(timeline, list):
                timeline = new[key] = [timeline]
                grown.append(timeline)
            if (
                others
                and timeline[-1].published < row.published
                and (len(timeline) < others or self._is_past(timeline[-others], row))
            ):
                timeline.append(row)
            else:
                yield key, row, timeline

    def remember(self, arrivals: Iterable[tuple[Key, HistoryRow]]) -> None:
        """Put events into their places."""
        for _, row, timeline in self.arriving(arrivals):
            put(row, timeline)

    def rows_of(self, key: Key) -> Timeline:
        """Give the events of a key."""
        kept = self._new.get(key) or self._old.get(key) or []
        return kept if isinstance(kept, list) else [kept]

    def forget_before(self, moment: str, *, all_old: bool = False) -> None:
        """Forget what lies before a point in time; what came since the last call can wait for the next one.

        ``all_old``: whether all that came before the last call lies before that point.
        """
        remaining = {} if all_old else self._old
        self._old, self._new = self._new, {}
        grown, self._grown = self._grown, []
        for key, kept in remaining.items():
            timeline = kept if isinstance(kept, list) else [kept]
            if timeline[-1].published >= moment:
                self._old[key] = kept
                grown.append(timeline)
        for timeline in grown:
            if timeline[0].published < moment:
                # Its newest event stays in any case: a timeline has at least one.
                del timeline[: bisect_left(timeline, moment, 0, len(timeline) - 1, key=_published)]

    def _is_past(self, earlier: HistoryRow, row: HistoryRow) -> bool:
        """Tell whether an event lies before another one's window."""
        if row.published < self._from or earlier.published >= self._since:
            self._from, self._since = row.published, shifted(row.published, -self._window)
        return earlier.published < self._since


class Reading:
    """One page's look at the windows of its events, and of those which they are late for."""

    def __init__(
        self, window: timedelta, holds: Callable[[Sequence[HistoryRow]], bool], *, fewest: int = 1
    ) -> None:
        """``fewest``: the smallest window that can hold."""
        self._window = window
        self._holds = holds
        self._fewest = fewest
        self._states: dict[Key, bytearray] = {}
        """Which events of a timeline have been looked at."""

    def arrived(
        self, key: Key, row: HistoryRow, timeline: Timeline
    ) -> Iterator[tuple[HistoryRow, Sequence[HistoryRow]]]:
        """Take the next event of the stream; give the events that match now, with their windows.

        Each is given once. One that was looked at and has no new event in its window is not looked at
        again: a page that is read a second time costs no more than the first time.
        """
        states = self._states.setdefault(key, bytearray())
        states.extend(bytes(len(timeline) - len(states)))  # what came without being looked at
        first, new = put(row, timeline)
        if new:
            states[first:first] = _NEW
        end = len(timeline)
        if first + 1 < end:
            end = bisect_right(timeline, shifted(row.published, self._window), key=_published)
        if new:
            states[first:end] = states[first:end].replace(_SEEN, _NEW)
        at = states.find(_NEW, first, end)
        while at >= 0:
            start = bisect_left(timeline, shifted(timeline[at].published, -self._window), key=_published)
            found = timeline[start : at + 1]
            matched = len(found) >= self._fewest and self._holds(found)
            states[at : at + 1] = _MATCHED if matched else _SEEN
            if matched:
                yield timeline[at], found
            at = states.find(_NEW, at + 1, end)


def put(row: HistoryRow, timeline: Timeline) -> tuple[int, bool]:
    """Put an event into its place; give that, and whether it is new. What is there stays as it is."""
    at = len(timeline)
    if timeline and timeline[-1].published >= row.published:  # hardly ever: events come in order of time
        place = _place(row)
        at = bisect_left(timeline, place, key=_place)
        if at < len(timeline) and _place(timeline[at]) == place:
            return at, False
    timeline.insert(at, row)
    return at, True


def _place(row: HistoryRow) -> tuple[str, str]:
    return (row.published, row.uuid)


def _published(row: HistoryRow) -> str:
    return row.published
