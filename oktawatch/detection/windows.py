"""Kinds of rules that decide by an event's *window*: the events of its key in the period W that ends with the event.

The window of an event e is the set of events f of the same key with f.published >= e.published - W and (f.published,
f.uuid) <= (e.published, e.uuid). When an event published at t arrives, every e of its key in [t, t + W] that has not
matched on this page is examined, so that a late event can complete a pattern. The matches then depend on the set of
events and not on their order of arrival, provided that a rule is *monotone*: if it matches a window, it also matches
that window with more events in it. Every kind in this module is monotone.

Events are processed one at a time, in the order of arrival. So the order of matches, on which grouping depends, does
not depend on where pages end.

A rule needs at most one query for a page: the rows of the page's keys, from W before to W after the page's events.
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
"""The maximum number of events in a match's context: the newest events of its window."""


@dataclass(frozen=True, kw_only=True)
class HistoryRule(Rule):
    """A rule that uses history. Its matches are grouped by the key of their events."""

    column: ClassVar[Column]
    """The column of the key by which history is searched: the most selective one."""
    ignore_case: ClassVar[bool] = False
    """Whether event types are compared case-insensitively."""

    window: timedelta
    """How far back the rule looks from an event."""

    @abstractmethod
    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Return the matches that a page's events cause, in the order of the stream."""

    def wants(self) -> Callable[[Any], bool]:
        """Return a function that tests whether the rule needs an event type."""
        return type_test(self.needed_types(), ignore_case=self.ignore_case)

    def accepted(
        self, rows: Sequence[HistoryRow], predicate: Callable[[HistoryRow], bool], on_error: OnError
    ) -> list[HistoryRow]:
        """Return the rows of the rule's event types for which `predicate` is true."""
        types = set(filter(self.wants(), {row.event_type for row in rows}))
        candidates = [row for row in rows if row.event_type in types]
        try:
            return list(filter(predicate, candidates))
        except Exception:  # noqa: BLE001 -- a rule may raise anything: test row by row, to report the faulty row
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
        """Build the match of a row. Its context lists the evidence and the flags that are true."""
        flags["partial"] = row.event is None
        return self.match(
            row.full_event(),
            key=key,
            more=partial(_evidence_context, evidence, flags),
            partial_event=flags["partial"],
        )


@dataclass(frozen=True, kw_only=True)
class WindowRule(HistoryRule):
    """A rule about an event's window. Subclass this class only for patterns that the kinds below don't cover."""

    signals: ClassVar[tuple[str, ...]] = ()
    """Ids of the signal rules that the rule uses. The rule needs their event types in addition to its own."""
    keyed_by: ClassVar[tuple[str, ...]] = ()
    """The columns of the key, including ``column``. Empty if the key is ``column`` alone."""
    _signal_rules: ClassVar[SignalRules] = MappingProxyType({})
    _signal_tests: ClassVar[Mapping[str, Callable[[HistoryRow], bool]]] = MappingProxyType({})

    def with_signals(self, signals: SignalRules) -> Self:
        """Return a copy of the rule with the signal rules that it uses, for `signalled`."""
        bound = copy(self)
        rules = {name: signals[name] for name in self.signals}
        tests = {name: signal.test() for name, signal in rules.items()}
        vars(bound).update(_signal_rules=rules, _signal_tests=tests)
        return bound

    def signalled(self, row: HistoryRow, signal: str) -> bool:
        """Return whether the signal rule with this id matches an event. The signal rule need not be enabled."""
        return self._signal_tests[signal](row)

    def needed_types(self) -> tuple[str, ...]:
        """Return the rule's event types and those of the signal rules that it uses."""
        signal_types = (kind for signal in self._signal_rules.values() for kind in signal.needed_types())
        return tuple(dict.fromkeys((*self.event_types, *signal_types)))

    def takes(self, row: HistoryRow) -> bool:  # noqa: ARG002 -- by default every event is in the window
        """Every event of these types counts.

        Override this to select the events of a window by more than their type.
        """
        return True

    def key(self, row: HistoryRow) -> Key:
        """Return the key of an event. An event with None in any part of its key is ignored."""
        return tuple([getattr(row, column) for column in self.keyed_by or (self.column,)])

    @abstractmethod
    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the last event of a window matches. ``window`` is in order of (published, uuid)."""

    @property
    def fewest(self) -> int:
        """The size of the smallest window that can match. Smaller windows are skipped."""
        return 1

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Return the matches that a page's events cause, in the order of the stream."""
        arrivals = self.keyed(rows, on_error)
        if not arrivals:
            return
        buffers = history.buffers(self.id) or self._load(arrivals, history, on_error)
        scan = WindowScan(buffers, self.window, partial(self._holds, on_error), fewest=self.fewest)
        on_page: dict[tuple[str, str], HistoryRow] = {}
        for key, row in arrivals:
            for matched, window in scan.insert(key, row):
                # A matched row from history may be on this page as well, and only the page has its complete event.
                if matched is not row and not on_page:
                    on_page = {(page_row.published, page_row.uuid): page_row for page_row in rows}
                page_row = on_page.get((matched.published, matched.uuid), matched)
                yield self.match_of(page_row, key, window)

    def keyed(self, rows: Sequence[HistoryRow], on_error: OnError) -> list[tuple[Key, HistoryRow]]:
        """Return the accepted rows whose keys have no unknown part, with their keys."""
        rows = self.accepted(rows, self.takes, on_error)
        if type(self).key is WindowRule.key:
            # The usual case, without a method call per row.
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
        keyed_rows = self.keyed(list(history.rows(self.column, ranges)), on_error)
        buffers.insert((key, row) for key, row in keyed_rows if key in keys)
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
        """The smallest window that can match has ``at_least`` events."""
        return self.at_least

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the window has ``at_least`` events."""
        return len(window) >= self.at_least


@dataclass(frozen=True, kw_only=True)
class DistinctInWindow(WindowRule):
    """At least ``at_least`` different values within a window of one key."""

    at_least: int

    @property
    def fewest(self) -> int:
        """The smallest window that can match has ``at_least`` events."""
        return self.at_least

    @abstractmethod
    def value(self, row: HistoryRow) -> str | None:
        """Return the value to count, or None to ignore the event."""

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the window has ``at_least`` different values."""
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
        """The event is of one of the two kinds."""  # noqa: D401 -- `explain` shows it as a condition
        return self.first(row) or self.second(row)

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the window has an event of each kind."""
        return any(map(self.first, window)) and any(map(self.second, window))


@dataclass(frozen=True, kw_only=True)
class SequenceInWindow(WindowRule):
    """An event that follows a start event of the same key within a window."""

    @abstractmethod
    def starts(self, row: HistoryRow) -> bool:
        """Return whether an event starts the sequence."""

    @abstractmethod
    def follows(self, row: HistoryRow) -> bool:
        """Return whether an event can end the sequence."""

    @abstractmethod
    def suspicious(self, rows: Sequence[HistoryRow]) -> bool:
        """Return whether the events since the earliest start match. More events must not change True to False."""

    @property
    def fewest(self) -> int:
        """Return 2, for a start and an event that follows it."""
        return 2

    def holds(self, window: Sequence[HistoryRow]) -> bool:
        """Return whether the last event follows an earlier start, and the events since the earliest start are suspicious."""
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
    """Return the ranges of history that a page's rows need, each with its rows' values of ``column``."""
    return [
        TimeRange(since, until, frozenset(getattr(row, column) for row in cluster))
        for since, until, cluster in clusters(rows, window)
    ]


def clusters(
    rows: Sequence[HistoryRow], window: timedelta
) -> Iterator[tuple[str, str, Sequence[HistoryRow]]]:
    """Yield the time ranges that a page's rows need, each with its rows.

    A range begins one window before its first row, and ends one window after its last row.
    Rows with overlapping ranges share a range, so an ordinary page has a single range. A row with an absurd time
    has its own range, so that it can't make the page read years of history.
    """
    ordered = sorted(rows, key=attrgetter("published"))
    start = 0
    while start < len(ordered):
        end = start
        # Jump to the last row whose range overlaps that of the cluster's last row, so that a page takes few steps.
        while True:
            overlap_until = shifted(ordered[end].published, 2 * window)
            last = bisect_right(ordered, overlap_until, key=lambda row: row.published) - 1
            if last == end:
                break
            end = last
        cluster = ordered[start : end + 1]
        yield shifted(cluster[0].published, -window), shifted(cluster[-1].published, window), cluster
        start = end + 1


def _evidence_context(evidence: Sequence[HistoryRow], flags: dict[str, bool]) -> dict[str, Any]:
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
