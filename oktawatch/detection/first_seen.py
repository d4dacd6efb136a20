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
    """Match an event if its key had no qualifying event within the window before the event.

    This is the only kind that depends on the order of arrival. A match is never revoked, so an earlier event that
    arrives late matches as well. Among equal times, "before" means earlier in the stream.

    The key is the value of ``column``. ``event_types``, ``conditions`` and ``any_true`` declare which events
    qualify, so that the database can evaluate them.
    """

    conditions: ClassVar[Mapping[str, str | bool]] = {}
    """Columns of history and their required values."""

    def any_true(self) -> tuple[str, ...]:
        """Return columns of history. At least one of them must be true, unless there are none."""
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
        on_page: dict[str, list[tuple[str, str]]] = {}
        for (key, row), query, seen_before in zip(arrivals, queries, seen, strict=True):
            times = on_page.setdefault(key, [])
            if not seen_before and not _any_earlier(times, query):
                yield self.match_of(row, (key,), [row], warmup=start.is_in_window_of(row))
            insort(times, (row.published, row.uuid))

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
    """Return whether one of these events is in the query's window and is not the queried event itself."""
    at = bisect_right(events, (query.published, "\U0010ffff")) - 1
    while at >= 0 and events[at] == (query.published, query.uuid):
        at -= 1
    return at >= 0 and events[at][0] >= query.since


class _HistoryStart:
    """The start of the org's history as each event of a page arrives. Queried only when needed."""

    def __init__(self, rule: FirstSeen, rows: Sequence[HistoryRow], history: History) -> None:
        self._rule = rule
        self._wanted = rule.wants()
        self._rows = iter(rows)
        self._history = history
        self._began: str | None = None
        self._is_known = False

    def is_in_window_of(self, row: HistoryRow) -> bool:
        """Return whether the history of the rule's event types starts within the row's window, so that earlier events can be unknown."""
        if not self._is_known:
            self._began, self._is_known = self._history.began(self._rule.needed_types()), True
        for other in self._rows:
            if self._wanted(other.event_type):
                self._began = min(self._began or other.published, other.published)
            if other is row:
                break
        began = datetime.fromisoformat(self._began or row.published)
        return datetime.fromisoformat(row.published) - began < self._rule.window
