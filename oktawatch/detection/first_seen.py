"""A kind of rule: match the first event of a key within a window."""

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from oktawatch.detection.history import History, qualifies
from oktawatch.detection.rule import OnError
from oktawatch.detection.windows import HistoryRule
from oktawatch.model.history import HistoryRow, SeenQuery
from oktawatch.model.match import Match
from oktawatch.model.timestamps import shifted


@dataclass(frozen=True, kw_only=True)
class FirstSeen(HistoryRule):
    """Match an event if its key, the value of ``column``, had no qualifying event within the window before it.

    ``event_types``, ``conditions`` and ``any_true`` declare which events qualify, so that the database can evaluate
    them.

    This is the only kind that depends on the order of arrival: if an earlier event arrives late, both events match.
    Among events at the same time, the first to arrive matches.
    """

    conditions: ClassVar[Mapping[str, str | bool]] = {}
    """Columns of history and their required values."""

    def any_true(self) -> tuple[str, ...]:
        """Return columns of history of which at least one must be true. If empty, none needs to be."""
        return ()

    def counts(self, key: str) -> bool:  # noqa: ARG002 -- by default every key counts
        """Every key is watched."""
        return True

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Return the matches among a page's events, in the page's order."""
        arrivals = list(self._arrivals(rows, on_error))
        if not arrivals:
            return
        queries = [
            SeenQuery(key, shifted(row.published, -self.window), row.published, row.uuid)
            for key, row in arrivals
        ]
        seen = history.seen(
            self.column,
            queries,
            event_types=self.needed_types(),
            conditions=self.conditions,
            any_true=self.any_true(),
        )
        start = _HistoryStart(self, rows, history)
        arrived: dict[str, list[tuple[str, str]]] = {}
        for (key, row), query, seen_before in zip(arrivals, queries, seen, strict=True):
            arrived_of_key = arrived.setdefault(key, [])
            if not seen_before and not _any_earlier(arrived_of_key, query):
                yield self.match_of(row, (key,), [row], warmup=start.is_in_window_of(row))
            insort(arrived_of_key, (row.published, row.uuid))

    def _arrivals(self, rows: Sequence[HistoryRow], on_error: OnError) -> Iterator[tuple[str, HistoryRow]]:
        for row in self.accepted(rows, self._qualifies, on_error):
            key = getattr(row, self.column)
            if key is None:
                continue
            try:
                counts = self.counts(key)
            except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
                on_error(self, row.uuid, error)
                continue
            if counts:
                yield key, row

    def _qualifies(self, row: HistoryRow) -> bool:
        return qualifies(row, self.conditions, self.any_true())


def _any_earlier(events: Sequence[tuple[str, str]], query: SeenQuery) -> bool:
    """Return whether one of these sorted events is in the query's window and is not the queried event itself."""
    at = bisect_right(events, (query.published, "\U0010ffff")) - 1  # U+10FFFF sorts after all uuids
    while at >= 0 and events[at] == (query.published, query.uuid):
        at -= 1
    return at >= 0 and events[at][0] >= query.since


class _HistoryStart:
    """Finds the start of the history of the rule's event types. The database is queried only when needed."""

    def __init__(self, rule: FirstSeen, rows: Sequence[HistoryRow], history: History) -> None:
        self._rule = rule
        self._wanted = rule.wants()
        self._rows = iter(rows)
        self._history = history
        self._began: str | None = None
        self._is_known = False

    def is_in_window_of(self, row: HistoryRow) -> bool:
        """Return whether history starts within the row's window, so earlier events may be unknown. Call it in page order."""
        if not self._is_known:
            self._began, self._is_known = self._history.began(self._rule.needed_types()), True
        for other in self._rows:
            if self._wanted(other.event_type):
                self._began = min(self._began or other.published, other.published)
            if other is row:
                break
        began = datetime.fromisoformat(self._began or row.published)
        return datetime.fromisoformat(row.published) - began < self._rule.window
