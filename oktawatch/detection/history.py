"""How detections see the past: two questions, asked for a whole page at once.

A windowed rule looks at a page, says which stretches of time of which keys it needs, and gets every
row of them in one answer; a rule that asks "seen before?" gets one answer for all its events. So the
number of questions depends on the number of rules, never of events, and everything after the answer
happens in memory. The past is read within the page's transaction, under the org's lock: two writers
would else each miss the other's half.
"""

from bisect import bisect_left, bisect_right, insort_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, get_args

from oktawatch.detection.event_types import type_test
from oktawatch.detection.window_buffers import WindowBuffers
from oktawatch.model.history import Column, Earlier, HistoryRow, Stretch


class History(Protocol):
    """The past of one org, as it was before this page. Read only."""

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> Iterable[HistoryRow]:
        """Give every row whose ``column`` has one of a stretch's values within that stretch, in any order.

        A row may come more than once. Stretches are few (neighbouring times share one) unless an org's
        events lie far apart; all of them are one question.
        """

    def timelines(self, rule_id: str) -> WindowBuffers | None:
        """Give a windowed rule's timelines, if they are kept and have all that this page needs.

        The rule adds to them what comes.
        """

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """Tell for each event asked about whether there is an earlier row of its key.

        Asked about are such events of the page: they are remembered with it.

        That is a row with the same value of ``column``, one of ``event_types`` (a trailing ``*``
        stands for any ending), the ``conditions`` (columns and their values), and
        since <= published <= the event's own, that is not (published, uuid) of the event itself.
        """

    def began(self, event_types: Sequence[str]) -> str | None:
        """Give the earliest ``published`` of these event types that is remembered; None for none at all.

        Where earlier ones were pruned: the time from which on all are remembered, if that is earlier.
        """


class MemoryHistory:
    """A history in memory: what is recent, test cases, and events that are stored nowhere."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], HistoryRow] = {}
        self._by_value: dict[tuple[str, str], list[HistoryRow]] = {}

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def since(self, moment: str) -> "MemoryHistory":
        """Give a history of the rows from a point in time on."""
        kept = MemoryHistory()
        kept.add(row for row in self._rows.values() if row.published >= moment)
        return kept

    def add(self, rows: Iterable[HistoryRow]) -> None:
        """Remember rows; what is remembered already stays as it is."""
        for row in rows:
            key = (row.published, row.uuid)
            if key in self._rows:
                continue
            remembered = self._rows[key] = HistoryRow(*row.columns) if row.event else row
            for column in _SEARCHED:
                value = getattr(row, column)
                if value is not None:
                    found = self._by_value.setdefault((column, value), [])
                    if not found or found[-1].published <= row.published:
                        found.append(remembered)  # nearly always: pages come in order of time
                    else:
                        insort_right(found, remembered, key=_published)

    def rows(self, column: Column, stretches: Sequence[Stretch]) -> Iterable[HistoryRow]:
        """See ``History``."""
        for since, until, values in stretches:
            for value in values:
                yield from self._between(column, value, since, until)

    def timelines(self, rule_id: str) -> None:
        """See ``History``: none are kept."""

    def seen(
        self,
        column: Column,
        asked: Sequence[Earlier],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
    ) -> list[bool]:
        """See ``History``."""
        wanted = type_test(tuple(event_types))
        return [
            any(
                wanted(row.event_type)
                and (row.published, row.uuid) != (one.published, one.uuid)
                and all(getattr(row, name) == value for name, value in conditions.items())
                for row in self._between(column, one.value, one.since, one.published)
            )
            for one in asked
        ]

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        wanted = type_test(tuple(event_types))
        return min((row.published for row in self._rows.values() if wanted(row.event_type)), default=None)

    def _between(self, column: str, value: str, since: str, until: str) -> list[HistoryRow]:
        found = self._by_value.get((column, value), [])
        return found[bisect_left(found, since, key=_published) : bisect_right(found, until, key=_published)]


_SEARCHED: tuple[Column, ...] = get_args(Column)


def _published(row: HistoryRow) -> str:
    return row.published
