"""Kinds of rules that decide by an event's *window*: what its key did up to then.

The window of an event e are the events f of the same key with f.published >= e.published - W and
(f.published, f.uuid) <= (e.published, e.uuid), e included, whether or not e itself adds anything.
When an event arrives at t, every e of its key in [t, t + W] is looked at again, so that a late event
which completes a pattern finds it. So the set of matches depends on the set of events alone, however
they arrived: provided that a rule is *monotone*, which every kind here is. What holds of a window
must hold of it with more events in it.

Events are taken one after the other, as they came, never a page at once: so that the order of the
matches, which the grouping of alerts depends on, does not depend on where pages end.

A page needs one question: the rows of its keys from W before its events to W after them. The earliest
window is that of the page's first event; the latest event to look at again lies W after its last.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from oktawatch.detection.event_types import type_test
from oktawatch.detection.history import History
from oktawatch.detection.rule import Key, OnError, Rule
from oktawatch.model.history import Column, HistoryRow, Stretch
from oktawatch.model.match import Match
from oktawatch.model.timestamps import shifted

MOST_EVIDENCE = 50
"""Events of a window that a match's context lists: the newest."""

_NEW, _SEEN, _MATCHED = b"\0", b"\1", b"\2"
_LAST_UUID = "\U0010ffff"


@dataclass(frozen=True, kw_only=True)
class HistoryRule(Rule):
    """A rule that decides by more than one event. Its alerts are grouped by the key of its events."""

    column: ClassVar[Column]
    """The part of the key that history is asked by: the one that tells the most apart."""
    any_case: ClassVar[bool] = False
    """Whether event types are compared without regard to case."""

    window: timedelta
    """How far back an event's window reaches."""

    @abstractmethod
    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Give the matches that a page's events bring about, in the order in which they come about."""

    def wants(self) -> Callable[[Any], bool]:
        """Give the test for the event types that the rule needs."""
        return type_test(self.needed_types(), any_case=self.any_case)

    def match_of(self, row: HistoryRow, key: Key, evidence: Sequence[HistoryRow], **marks: bool) -> Match:
        """Make the match of a row; its context lists the evidence, and the marks that are true."""
        marks["partial"] = row.event is None
        return self.match(row.whole(), key=key, more=partial(_more, evidence, marks))


@dataclass(frozen=True, kw_only=True)
class WindowRule(HistoryRule):
    """A rule about an event's window. Subclass a kind below, or this for a pattern of one's own."""

    def takes(self, row: HistoryRow) -> bool:  # noqa: ARG002 -- the default looks at the event type alone
        """Tell whether an event of one of ``event_types`` takes part."""
        return True

    @abstractmethod
    def key(self, row: HistoryRow) -> Key:
        """Say whose windows it belongs to; an event with nothing in any part takes no part."""

    @abstractmethod
    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Tell whether the last event of a window matches. ``window`` is in order of (published, uuid)."""

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Give the matches that a page's events bring about, in the order in which they come about."""
        arrivals = list(self._parts(rows, on_error))
        if not arrivals:
            return
        timelines = self._timelines(arrivals, history, on_error)
        holds = partial(self._holds, on_error)
        for key, row in arrivals:
            timeline = timelines.get(key)
            if timeline is not None:
                for found, window in timeline.arrived(row, holds):
                    yield self.match_of(found, key, window)
            elif holds([row]):
                yield self.match_of(row, key, [row])

    def _parts(self, rows: Iterable[HistoryRow], on_error: OnError) -> Iterator[tuple[Key, HistoryRow]]:
        wanted = self.wants()
        for row in rows:
            if not wanted(row.event_type):
                continue
            try:
                key = self.key(row) if self.takes(row) else (None,)
            except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
                on_error(self, row.uuid, error)
                continue
            if None not in key:
                yield key, row

    def _timelines(
        self, arrivals: Sequence[tuple[Key, HistoryRow]], history: History, on_error: OnError
    ) -> dict[Key, "Timeline"]:
        """Give the timelines of those keys, as they were, that have more than the page's one event."""
        counts = Counter(key for key, _ in arrivals)
        timelines = {key: Timeline(self.window) for key, count in counts.items() if count > 1}
        rows = history.rows(self.column, stretches([row for _, row in arrivals], self.column, self.window))
        for key, row in self._parts(rows, on_error):
            if key in counts:
                timeline = timelines.get(key)
                if timeline is None:
                    timeline = timelines[key] = Timeline(self.window)
                timeline.remember(row)
        return timelines

    def _holds(self, on_error: OnError, window: Sequence[HistoryRow]) -> bool:
        try:
            return self.holds(window)
        except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
            on_error(self, window[-1].uuid, error)
            return False


@dataclass(frozen=True, kw_only=True)
class CountInWindow(WindowRule):
    """At least so many events of a key within a window."""

    at_least: int

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count."""
        return len(window) >= self.at_least


@dataclass(frozen=True, kw_only=True)
class DistinctInWindow(WindowRule):
    """At least so many different values within a window of one key."""

    at_least: int

    @abstractmethod
    def value(self, row: HistoryRow) -> str | None:
        """Give what is counted; nothing is not."""

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count the values, newest first, and stop when there are enough."""
        if len(window) < self.at_least:
            return False
        values: set[str] = set()
        for row in reversed(window):
            value = self.value(row)
            if value is not None:
                values.add(value)
                if len(values) >= self.at_least:
                    return True
        return False


@dataclass(frozen=True, kw_only=True)
class PairInWindow(WindowRule):
    """Two sorts of events of one key within a window, in either order."""

    @abstractmethod
    def first(self, row: HistoryRow) -> bool:
        """Tell whether an event is of the one sort."""

    @abstractmethod
    def second(self, row: HistoryRow) -> bool:
        """Tell whether an event is of the other sort."""

    def takes(self, row: HistoryRow) -> bool:
        """Only the two sorts take part."""
        return self.first(row) or self.second(row)

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Look for both."""
        return any(map(self.first, window)) and any(map(self.second, window))


@dataclass(frozen=True, kw_only=True)
class SequenceInWindow(WindowRule):
    """An event that follows an earlier start of the same key within a window."""

    @abstractmethod
    def starts(self, row: HistoryRow) -> bool:
        """Tell whether an event is a start."""

    @abstractmethod
    def follows(self, row: HistoryRow) -> bool:
        """Tell whether an event is what may follow one."""

    @abstractmethod
    def suspicious(self, stretch: Sequence[HistoryRow]) -> bool:
        """Judge the events from the window's earliest start on. More of them must not calm it down."""

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Find the earliest start that lies before the event in time."""
        last = window[-1]
        if not self.follows(last):
            return False
        for at, row in enumerate(window):
            if row.at >= last.at:
                return False
            if self.starts(row):
                return self.suspicious(window[at:])
        return False


class Timeline:
    """The events of one key in order of (published, uuid), and which of them have been looked at."""

    def __init__(self, window: timedelta) -> None:
        self._window = window // timedelta(milliseconds=1)
        self._order: list[tuple[int, str]] = []
        self._rows: list[HistoryRow] = []
        self._states = bytearray()

    def remember(self, row: HistoryRow) -> bool:
        """Put a row into its place; tell whether it was not there before."""
        place = (row.at, row.uuid)
        at = bisect_left(self._order, place)
        if at < len(self._order) and self._order[at] == place:
            if row.event is not None:
                self._rows[at] = row  # the whole event instead of what was remembered of it
            return False
        self._order.insert(at, place)
        self._rows.insert(at, row)
        self._states.insert(at, _NEW[0])
        return True

    def arrived(
        self, row: HistoryRow, holds: Callable[[Sequence[HistoryRow]], bool]
    ) -> Iterator[tuple[HistoryRow, Sequence[HistoryRow]]]:
        """Take the next event of the stream; give the events that match now, with their windows.

        Each event is given once. One that was looked at and has no new event in its window is not
        looked at again: a page that is read a second time costs no more than the first time.
        """
        new = self.remember(row)
        first = bisect_left(self._order, (row.at, row.uuid))
        end = bisect_left(self._order, (row.at + self._window, _LAST_UUID))
        if new:
            self._states[first:end] = self._states[first:end].replace(_SEEN, _NEW)
        at = self._states.find(_NEW, first, end)
        while at >= 0:
            start = bisect_left(self._order, (self._order[at][0] - self._window, ""))
            window = self._rows[start : at + 1]
            matched = holds(window)
            self._states[at] = (_MATCHED if matched else _SEEN)[0]
            if matched:
                yield self._rows[at], window
            at = self._states.find(_NEW, at + 1, end)


def stretches(rows: Sequence[HistoryRow], column: Column, window: timedelta) -> list[Stretch]:
    """Say what of the past a page's rows need: their keys' rows from W before to W after them.

    Rows whose needs touch share a stretch, so that an ordinary page has one; a row with an absurd
    time has its own, and can't make the page read years of everybody's.
    """
    found: list[Stretch] = []
    reach = 2 * (window // timedelta(milliseconds=1))
    ordered = sorted(rows, key=lambda row: row.at)
    start = 0
    for end in range(1, len(ordered) + 1):
        if end < len(ordered) and ordered[end].at - ordered[end - 1].at <= reach:
            continue
        some = ordered[start:end]
        found.append(
            Stretch(
                shifted(some[0].published, -window),
                shifted(some[-1].published, window),
                frozenset(getattr(row, column) for row in some),
            )
        )
        start = end
    return found


def _more(evidence: Sequence[HistoryRow], marks: dict[str, bool]) -> dict[str, Any]:
    listed = [
        {
            "uuid": row.uuid,
            "published": row.published,
            "event_type": row.event_type,
            "actor": row.actor_alternate_id or row.actor_id or "",
            "ip": row.client_ip or "",
        }
        for row in evidence[-MOST_EVIDENCE:]
    ]
    return {"evidence": listed} | {mark: True for mark, is_set in marks.items() if is_set}
