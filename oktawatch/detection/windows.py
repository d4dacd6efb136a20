"""Kinds of rules that decide by an event's *window*: what its key did up to that event.

The window of an event e is the set of events f of the same key with f.published >= e.published - W and
(f.published, f.uuid) <= (e.published, e.uuid). It includes e, whether or not e itself adds anything.
When an event arrives at t, every e of its key in [t, t + W] is examined again, so that a late event that
completes a pattern is found. The set of matches then depends on the set of events alone, however they
arrived, provided that a rule is *monotone*: what holds of a window also holds of it with more events in
it. Every kind here is.

Events are processed one after the other in the order of arrival, never a page at once. The grouping of
alerts depends on the order of matches, which must not depend on where pages end.

A page needs one query: the rows of its keys from W before its events to W after them. The earliest
window is that of the page's first event; the latest event to examine again lies W after its last.
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

from oktawatch.detection.event_types import type_test
from oktawatch.detection.history import History
from oktawatch.detection.rule import Key, OnError, Rule
from oktawatch.detection.signals import SignalRules
from oktawatch.detection.window_buffers import WindowBuffers, WindowScan
from oktawatch.model.history import Column, HistoryRow, TimeRange
from oktawatch.model.match import Match
from oktawatch.model.timestamps import shifted

MOST_EVIDENCE = 50
"""Events of a window that a match's context lists: the newest."""


@dataclass(frozen=True, kw_only=True)
class HistoryRule(Rule):
    """A rule that decides by more than one event. Its alerts are grouped by the key of its events."""

    column: ClassVar[Column]
    """The column of the key that history is searched by: the most selective one."""
    any_case: ClassVar[bool] = False
    """Whether event types are compared without regard to case."""

    window: timedelta
    """How far back an event's window reaches."""

    @abstractmethod
    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Return the matches that a page's events bring about, in the order in which they come about."""

    def wants(self) -> Callable[[Any], bool]:
        """Return the test for the event types that the rule needs."""
        return type_test(self.needed_types(), any_case=self.any_case)

    def accepted(
        self, rows: Sequence[HistoryRow], predicate: Callable[[HistoryRow], bool], on_error: OnError
    ) -> list[HistoryRow]:
        """Return the rows of the rule's event types for which `predicate` is true."""
        types = set(filter(self.wants(), {row.event_type for row in rows}))
        candidates = [row for row in rows if row.event_type in types]
        try:
            return list(filter(predicate, candidates))
        except Exception:  # noqa: BLE001 -- a rule may raise anything: call it row by row, to report which row
            return [row for row in candidates if self._is_accepted(row, predicate, on_error)]

    def _is_accepted(
        self, row: HistoryRow, predicate: Callable[[HistoryRow], bool], on_error: OnError
    ) -> bool:
        try:
            return bool(predicate(row))
        except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
            on_error(self, row.uuid, error)
            return False

    def match_of(self, row: HistoryRow, key: Key, evidence: Sequence[HistoryRow], **flags: bool) -> Match:
        """Return the match of a row. Its context lists the evidence and the flags that are true."""
        flags["partial"] = row.event is None
        return self.match(row.full_event(), key=key, more=partial(_more, evidence, flags))


@dataclass(frozen=True, kw_only=True)
class WindowRule(HistoryRule):
    """A rule about an event's window. Subclass one of the kinds below, or this class for another pattern."""

    signals: ClassVar[tuple[str, ...]] = ()
    """Ids of the signals that the rule uses. Their events are in its windows too."""
    keyed_by: ClassVar[tuple[str, ...]] = ()
    """The columns of the key, ``column`` among them, where ``column`` alone is not the key."""
    _signal_rules: ClassVar[SignalRules] = MappingProxyType({})
    _signal_tests: ClassVar[Mapping[str, Callable[[HistoryRow], bool]]] = MappingProxyType({})

    def asking(self, signals: SignalRules) -> Self:
        """Return the rule with the signals that it uses."""
        bound = copy(self)
        rules = {name: signals[name] for name in self.signals}
        tests = {name: signal.test() for name, signal in rules.items()}
        vars(bound).update(_signal_rules=rules, _signal_tests=tests)
        return bound

    def signalled(self, row: HistoryRow, signal: str) -> bool:
        """Return whether an event of a window is the signal with this id, whether that rule is on or off."""
        return self._signal_tests[signal](row)

    def needed_types(self) -> tuple[str, ...]:
        """Return the rule's own event types and those of the signals that it uses."""
        of_signals = (kind for signal in self._signal_rules.values() for kind in signal.needed_types())
        return tuple(dict.fromkeys((*self.event_types, *of_signals)))

    def takes(self, row: HistoryRow) -> bool:  # noqa: ARG002 -- the default looks at the event type alone
        """Return whether an event of one of ``event_types`` takes part."""
        return True

    def key(self, row: HistoryRow) -> Key:
        """Return the key of an event. An event with None in any part of its key takes no part."""
        return tuple([getattr(row, column) for column in self.keyed_by or (self.column,)])

    @abstractmethod
    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the last event of a window matches. ``window`` is in order of (published, uuid)."""

    @property
    def fewest(self) -> int:
        """The size of the smallest window that can match. Most keys have an event or two: no need to look."""
        return 1

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Return the matches that a page's events bring about, in the order in which they come about."""
        arrivals = self.keyed(rows, on_error)
        if not arrivals:
            return
        buffers = history.buffers(self.id) or self._load(arrivals, history, on_error)
        scan = WindowScan(buffers, self.window, partial(self._holds, on_error), fewest=self.fewest)
        on_page: dict[tuple[str, str], HistoryRow] = {}
        for key, row in arrivals:
            for found, window in scan.insert(key, row):
                # The buffers decide by the remembered row, but only the page's own row has the whole event.
                if found is not row and not on_page:
                    on_page = {(one.published, one.uuid): one for one in rows}
                own = on_page.get((found.published, found.uuid), found)
                yield self.match_of(own, key, window)

    def keyed(self, rows: Sequence[HistoryRow], on_error: OnError) -> list[tuple[Key, HistoryRow]]:
        """Return the rows that take part, with their keys."""
        rows = self.accepted(rows, self.takes, on_error)
        if type(self).key is WindowRule.key:
            # The usual case, without a call for each row.
            columns = [map(attrgetter(name), rows) for name in self.keyed_by or (self.column,)]
            keys = zip(*columns, strict=True)
            return [(key, row) for key, row in zip(keys, rows, strict=True) if None not in key]
        keyed = []
        for row in rows:
            try:
                key = self.key(row)
                hash(key)
                is_known = None not in key
            except Exception as error:  # noqa: BLE001 -- a rule may raise or return anything, and must not stop its page
                on_error(self, row.uuid, error)
                continue
            if is_known:
                keyed.append((key, row))
        return keyed

    def _load(
        self, arrivals: Sequence[tuple[Key, HistoryRow]], history: History, on_error: OnError
    ) -> WindowBuffers:
        """Read the buffers of a page's keys from history."""
        buffers = WindowBuffers()
        keys = {key for key, _ in arrivals}
        ranges = time_ranges([row for _, row in arrivals], self.column, self.window)
        found = self.keyed(list(history.rows(self.column, ranges)), on_error)
        buffers.insert((key, row) for key, row in found if key in keys)
        return buffers

    def _holds(self, on_error: OnError, window: Sequence[HistoryRow]) -> bool:
        try:
            return self.holds(window)
        except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
            on_error(self, window[-1].uuid, error)
            return False


@dataclass(frozen=True, kw_only=True)
class CountInWindow(WindowRule):
    """At least ``at_least`` events of a key within a window."""

    at_least: int

    @property
    def fewest(self) -> int:
        """``at_least``."""
        return self.at_least

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count the events."""
        return len(window) >= self.at_least


@dataclass(frozen=True, kw_only=True)
class DistinctInWindow(WindowRule):
    """At least ``at_least`` different values within a window of one key."""

    at_least: int

    @property
    def fewest(self) -> int:
        """``at_least``."""
        return self.at_least

    @abstractmethod
    def value(self, row: HistoryRow) -> str | None:
        """Return the value to count. None is not counted."""

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Count the values, newest first, up to ``at_least``."""
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
    """Two kinds of events of one key within a window, in either order."""

    @abstractmethod
    def first(self, row: HistoryRow) -> bool:
        """Return whether an event is of the first kind."""

    @abstractmethod
    def second(self, row: HistoryRow) -> bool:
        """Return whether an event is of the second kind."""

    def takes(self, row: HistoryRow) -> bool:
        """Only the two kinds take part."""
        return self.first(row) or self.second(row)

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Look for an event of each kind."""
        return any(map(self.first, window)) and any(map(self.second, window))


@dataclass(frozen=True, kw_only=True)
class SequenceInWindow(WindowRule):
    """An event that follows a start of the same key within a window."""

    @abstractmethod
    def starts(self, row: HistoryRow) -> bool:
        """Return whether an event is a start."""

    @abstractmethod
    def follows(self, row: HistoryRow) -> bool:
        """Return whether an event is one that may follow a start."""

    @abstractmethod
    def suspicious(self, rows: Sequence[HistoryRow]) -> bool:
        """Judge the events from the window's earliest start on. More events must not turn true into false."""

    @property
    def fewest(self) -> int:
        """Two: a start and what follows it."""
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


def time_ranges(rows: Sequence[HistoryRow], column: Column, window: timedelta) -> list[TimeRange]:
    """Return the ranges of history that a page's rows need: those of their keys, from W before to W after them."""
    return [
        TimeRange(since, until, frozenset(getattr(row, column) for row in cluster))
        for since, until, cluster in clusters(rows, window)
    ]


def clusters(
    rows: Sequence[HistoryRow], window: timedelta
) -> Iterator[tuple[str, str, Sequence[HistoryRow]]]:
    """Return the times that a page's rows need, from W before to W after them, each with its rows.

    Rows whose times overlap share a range, so an ordinary page has one. A row with an absurd time has
    its own, and can't make the page read years of everybody's history.
    """
    ordered = sorted(rows, key=attrgetter("published"))
    start = 0
    while start < len(ordered):
        end = start
        # Jump from the last row of the cluster to the last row within its reach: a handful of steps a page.
        while True:
            reach = shifted(ordered[end].published, 2 * window)
            further = bisect_right(ordered, reach, key=lambda row: row.published) - 1
            if further == end:
                break
            end = further
        cluster = ordered[start : end + 1]
        yield shifted(cluster[0].published, -window), shifted(cluster[-1].published, window), cluster
        start = end + 1


def _more(evidence: Sequence[HistoryRow], flags: dict[str, bool]) -> dict[str, Any]:
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
    return {"evidence": listed} | {flag: True for flag, is_set in flags.items() if is_set}
