"""The kind of rule that fires on what its key did for the first time in a while."""

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from oktawatch.detection.history import History
from oktawatch.detection.rule import OnError
from oktawatch.detection.windows import HistoryRule
from oktawatch.model.history import Earlier, HistoryRow
from oktawatch.model.match import Match
from oktawatch.model.timestamps import shifted


@dataclass(frozen=True, kw_only=True)
class FirstSeen(HistoryRule):
    """An event whose key had no such event in the time before. Every such event renews the memory.

    This kind alone depends on the order of arrival: nothing is un-fired, so a first occurrence that
    comes late fires beside the one that fired already. "Before" among equal times is the order of the
    stream.

    The key is the value of ``column``. What makes an event *such* an event is declared, not coded,
    since the database decides by it: the event types and ``conditions``.
    """

    conditions: ClassVar[Mapping[str, str | bool]] = {}
    """Columns of history and the values they must have."""

    def counts(self, key: str) -> bool:  # noqa: ARG002 -- by default every key counts
        """Tell whether a key is watched."""
        return True

    def decided_by(self) -> tuple[str, ...]:
        """Give the columns of its conditions."""
        return tuple(self.conditions)

    def evaluate(self, rows: Sequence[HistoryRow], history: History, on_error: OnError) -> Iterator[Match]:
        """Give the matches among a page's events, in the page's order."""
        arrivals = list(self._arrivals(rows, on_error))
        if not arrivals:
            return
        asked = [
            Earlier(key, shifted(row.published, -self.window), row.published, row.uuid)
            for key, row in arrivals
        ]
        seen = history.seen(self.column, asked, event_types=self.needed_types(), conditions=self.conditions)
        beginning = _Beginning(self, rows, history)
        on_page: dict[str, list[tuple[str, str]]] = {}
        for (key, row), one, seen_before in zip(arrivals, asked, seen, strict=True):
            times = on_page.setdefault(key, [])
            if not seen_before and not _within(times, one):
                yield self.match_of(row, (key,), [row], warmup=beginning.is_near(row))
            insort(times, (row.published, row.uuid))

    def _arrivals(self, rows: Sequence[HistoryRow], on_error: OnError) -> Iterator[tuple[str, HistoryRow]]:
        for row in self.such(rows, self.decided_by(), self._is_such, on_error):
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

    def _is_such(self, row: HistoryRow) -> bool:
        return all(getattr(row, name) == value for name, value in self.conditions.items())


def _within(times: Sequence[tuple[str, str]], asked: Earlier) -> bool:
    """Tell whether one of these events lies in the stretch, other than the event itself."""
    at = bisect_right(times, (asked.published, "\U0010ffff")) - 1
    while at >= 0 and times[at] == (asked.published, asked.uuid):
        at -= 1
    return at >= 0 and times[at][0] >= asked.since


class _Beginning:
    """When the org's history began, as it was when an event of the page came; asked only if need be."""

    def __init__(self, rule: FirstSeen, rows: Sequence[HistoryRow], history: History) -> None:
        self._rule = rule
        self._wanted = rule.wants()
        self._rows = iter(rows)
        self._history = history
        self._began: str | None = None
        self._asked = False

    def is_near(self, row: HistoryRow) -> bool:
        """Tell whether history is too short to know that this is a first occurrence: a cold start."""
        if not self._asked:
            self._began, self._asked = self._history.began(self._rule.needed_types()), True
        for other in self._rows:
            if self._wanted(other.event_type):
                self._began = min(self._began or other.published, other.published)
            if other is row:
                break
        began = datetime.fromisoformat(self._began or row.published)
        return datetime.fromisoformat(row.published) - began < self._rule.window
