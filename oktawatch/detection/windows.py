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
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, ClassVar, Self

from oktawatch.detection.alike import alike, columns_of, decides_by
from oktawatch.detection.event_types import type_test
from oktawatch.detection.history import History
from oktawatch.detection.rule import Key, OnError, Rule
from oktawatch.detection.signals import Signals
from oktawatch.detection.window_buffers import Reading, WindowBuffers
from oktawatch.model.history import Column, HistoryRow, Stretch
from oktawatch.model.match import Match
from oktawatch.model.timestamps import shifted

MOST_EVIDENCE = 50
"""Events of a window that a match's context lists: the newest."""


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

    @abstractmethod
    def decided_by(self) -> tuple[str, ...] | None:
        """Give the columns that tell whether an event takes part, if they are known and few (see ``alike``)."""

    def wants(self) -> Callable[[Any], bool]:
        """Give the test for the event types that the rule needs."""
        return type_test(self.needed_types(), any_case=self.any_case)

    def such(
        self,
        rows: Sequence[HistoryRow],
        columns: tuple[str, ...] | None,
        holds: Callable[[HistoryRow], bool],
        on_error: OnError,
    ) -> Sequence[HistoryRow]:
        """Give the rows of its event types of which a predicate holds that decides by ``columns`` (see ``alike``)."""
        wanted, failed = self.wants(), partial(on_error, self)
        if columns is None:
            return alike(alike(rows, (), lambda row: wanted(row.event_type), failed), None, holds, failed)
        return alike(rows, columns, lambda row: wanted(row.event_type) and holds(row), failed)

    def match_of(self, row: HistoryRow, key: Key, evidence: Sequence[HistoryRow], **marks: bool) -> Match:
        """Make the match of a row; its context lists the evidence, and the marks that are true."""
        marks["partial"] = row.event is None
        return self.match(row.whole(), key=key, more=partial(_more, evidence, marks))


@dataclass(frozen=True, kw_only=True)
class WindowRule(HistoryRule):
    """A rule about an event's window. Subclass a kind below, or this for a pattern of one's own."""

    signals: ClassVar[tuple[str, ...]] = ()
    """Ids of signals that it asks for. Their events lie in its windows, too."""
    keyed_by: ClassVar[tuple[str, ...]] = ()
    """The columns that are its key, ``column`` among them, where that alone is not."""
    _asked: ClassVar[Signals] = MappingProxyType({})
    _tests: ClassVar[Mapping[str, Callable[[HistoryRow], bool]]] = MappingProxyType({})

    def asking(self, signals: Signals) -> Self:
        """Give the rule with the signals at hand that it asks for."""
        made = copy(self)
        asked = {name: signals[name] for name in self.signals}
        vars(made).update(_asked=asked, _tests={name: signal.test() for name, signal in asked.items()})
        return made

    def signalled(self, row: HistoryRow, signal: str) -> bool:
        """Tell whether an event of a window is a signal, by its id, whether that one is on or off."""
        return self._tests[signal](row)

    def needed_types(self) -> tuple[str, ...]:
        """Give its own event types and those of the signals that it asks for."""
        theirs = (kind for signal in self._asked.values() for kind in signal.needed_types())
        return tuple(dict.fromkeys((*self.event_types, *theirs)))

    @decides_by()
    def takes(self, row: HistoryRow) -> bool:  # noqa: ARG002 -- the default looks at the event type alone
        """Tell whether an event of one of ``event_types`` takes part."""
        return True

    def decided_by(self) -> tuple[str, ...] | None:
        """Give the columns that ``takes`` decides by."""
        return columns_of(self.takes)

    def key(self, row: HistoryRow) -> Key:
        """Say whose windows it belongs to; an event with nothing in any part takes no part."""
        return tuple([getattr(row, column) for column in self.key_columns()])

    def key_columns(self) -> tuple[str, ...]:
        """Give the columns that are its key; none where ``key`` makes one of its own."""
        inherited = type(self).key is WindowRule.key
        return (self.keyed_by or (self.column,)) if inherited else ()

    @abstractmethod
    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Tell whether the last event of a window matches. ``window`` is in order of (published, uuid)."""

    @property
    def fewest(self) -> int:
        """The smallest window that can hold: most keys have an event or two, which nobody need look at."""
        return 1

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Give the matches that a page's events bring about, in the order in which they come about."""
        arrivals = self.parts(rows, on_error)
        if not arrivals:
            return
        timelines = history.timelines(self.id)
        if timelines is None:
            timelines = self._window_buffers(arrivals, history, on_error)
        reading = Reading(self.window, partial(self._holds, on_error), fewest=self.fewest)
        whole: dict[tuple[str, str], HistoryRow] = {}
        for key, row, timeline in timelines.arriving(arrivals):
            for found, rows_of_window in reading.arrived(key, row, timeline):
                # What is remembered of an event decides; the page's own row has the event with it.
                if found is not row and not whole:
                    whole = {(one.published, one.uuid): one for one in rows}
                own = whole.get((found.published, found.uuid), found)
                yield self.match_of(own, key, rows_of_window)

    def parts(self, rows: Sequence[HistoryRow], on_error: OnError) -> list[tuple[Key, HistoryRow]]:
        """Give the rows that take part, with their keys."""
        rows = self.such(rows, self.decided_by(), self.takes, on_error)
        columns = [list(map(attrgetter(name), rows)) for name in self.key_columns()]
        if not columns:
            return self._own_parts(rows, on_error)
        parts = zip(zip(*columns, strict=True), rows, strict=True)
        if any(None in column for column in columns):
            return [(key, row) for key, row in parts if None not in key]
        return list(parts)

    def _own_parts(self, rows: Sequence[HistoryRow], on_error: OnError) -> list[tuple[Key, HistoryRow]]:
        key_of = self.key
        parts = []
        for row in rows:
            try:
                key = key_of(row)
                hash(key)
                known = None not in key
            except Exception as error:  # noqa: BLE001 -- a rule may raise or give anything, and must not stop its page
                on_error(self, row.uuid, error)
                continue
            if known:
                parts.append((key, row))
        return parts

    def _window_buffers(
        self, arrivals: Sequence[tuple[Key, HistoryRow]], history: History, on_error: OnError
    ) -> WindowBuffers:
        """Give the timelines of those keys, as they were."""
        timelines = WindowBuffers(self.window, fewest=self.fewest)
        keys = {key for key, _ in arrivals}
        asked = stretches([row for _, row in arrivals], self.column, self.window)
        found = self.parts(list(history.rows(self.column, asked)), on_error)
        timelines.remember((key, row) for key, row in found if key in keys)
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

    @property
    def fewest(self) -> int:
        """As many as are counted."""
        return self.at_least

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count."""
        return len(window) >= self.at_least


@dataclass(frozen=True, kw_only=True)
class DistinctInWindow(WindowRule):
    """At least so many different values within a window of one key."""

    at_least: int

    @property
    def fewest(self) -> int:
        """As many as are counted."""
        return self.at_least

    @abstractmethod
    def value(self, row: HistoryRow) -> str | None:
        """Give what is counted; nothing is not."""

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count the values, newest first, and stop when there are enough."""
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

    def decided_by(self) -> tuple[str, ...] | None:
        """Give the columns that the two decide by, if both say and nobody else does."""
        inherited = type(self).takes is PairInWindow.takes
        return columns_of(self.first, self.second) if inherited else columns_of(self.takes)

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

    @property
    def fewest(self) -> int:
        """A start and what follows it."""
        return 2

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Find the earliest start that lies before the event in time."""
        last = window[-1]
        if not self.follows(last):
            return False
        for at, row in enumerate(window):
            if row.published >= last.published:
                return False
            if self.starts(row):
                return self.suspicious(window[at:])
        return False


def stretches(rows: Sequence[HistoryRow], column: Column, window: timedelta) -> list[Stretch]:
    """Say what of the past a page's rows need: their keys' rows from W before to W after them."""
    return [
        Stretch(since, until, frozenset(getattr(row, column) for row in some))
        for since, until, some in spans(rows, window)
    ]


def spans(rows: Sequence[HistoryRow], window: timedelta) -> Iterator[tuple[str, str, Sequence[HistoryRow]]]:
    """Give the stretches of time that a page's rows need, from W before to W after them, and those rows.

    Rows whose needs touch share a stretch, so that an ordinary page has one; a row with an absurd
    time has its own, and can't make the page read years of everybody's.
    """
    ordered = sorted(rows, key=attrgetter("published"))
    start = 0
    while start < len(ordered):
        end = start
        # Reach after reach to the last row that it covers: an ordinary page takes a handful.
        while True:
            reach = shifted(ordered[end].published, 2 * window)
            further = bisect_right(ordered, reach, key=lambda row: row.published) - 1
            if further == end:
                break
            end = further
        some = ordered[start : end + 1]
        yield shifted(some[0].published, -window), shifted(some[-1].published, window), some
        start = end + 1


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
