"""The interface through which rules query history.

Each query covers a whole page, so the number of queries depends on the rules, never on the number of events. History is
read under the org's lock. Without the lock, two concurrent writers could each miss the events of the other.
"""

from bisect import bisect_left, bisect_right, insort_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, get_args

from oktawatch.detection.event_types import type_test
from oktawatch.detection.window_buffers import WindowBuffers
from oktawatch.model.history import Column, HistoryRow, SeenQuery, TimeRange
from oktawatch.model.person_past import (
    FAILURE_WINDOW,
    FAMILIAR_WINDOW,
    Past,
    PastQuery,
    failed_actor,
    familiar_day,
)
from oktawatch.model.timestamps import shifted


class History(Protocol):
    """The history of one org before this page. Read-only."""

    def rows(self, column: Column, ranges: Sequence[TimeRange]) -> Iterable[HistoryRow]:
        """Return the rows of each time range whose ``column`` has one of the range's values, in any order.

        A row may be returned more than once.
        """

    def buffers(self, rule_id: str) -> WindowBuffers | None:
        """Return a windowed rule's buffers with all earlier events that this page needs, or None if they are not cached.

        The rule inserts the page's events into them.
        """

    def seen(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
        any_true: Sequence[str] = (),
    ) -> list[bool]:
        """Return for each query whether there is an earlier row with the query's value in ``column``.

        The row must have one of ``event_types`` (a trailing ``*`` matches any ending), and meet ``conditions`` and
        ``any_true`` (see `qualifies`). Its time is from the query's ``since`` to ``published``, both included. The
        query's own event doesn't count.

        The queries' events must be on the page. An implementation may assume that the page's commit adds them to history.
        """

    def pasts(self, queries: Sequence[PastQuery]) -> list[Past]:
        """Return for each query what was known about the person at the query's time."""

    def began(self, event_types: Sequence[str]) -> str | None:
        """Return when the history of these event types begins. None if there is none.

        It begins at the earliest event, or at the time before which such events were pruned, if that is earlier.
        """


class MemoryHistory:
    """An in-memory history, for rules' test cases."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], HistoryRow] = {}
        self._by_value: dict[tuple[str, str], list[HistoryRow]] = {}
        self._days: dict[tuple[str, str | None], set[str]] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def add(self, rows: Iterable[HistoryRow]) -> None:
        """Add rows, skipping those that exist."""
        for row in rows:
            key = (row.published, row.uuid)
            if key in self._rows:
                continue
            if (day := familiar_day(row)) is not None:
                self._days.setdefault((day.actor_id, day.service), set()).add(day.day)
            stored = self._rows[key] = HistoryRow(*row.columns) if row.event else row
            for column in _SEARCHED:
                value = getattr(row, column)
                if value is not None:
                    insort_right(self._by_value.setdefault((column, value), []), stored, key=_published)

    def rows(self, column: Column, ranges: Sequence[TimeRange]) -> Iterable[HistoryRow]:
        """See ``History``."""
        for since, until, values in ranges:
            for value in values:
                yield from self._between(column, value, since, until)

    def buffers(self, rule_id: str) -> None:
        """See ``History``. Nothing is cached."""

    def seen(
        self,
        column: Column,
        queries: Sequence[SeenQuery],
        *,
        event_types: Sequence[str],
        conditions: Mapping[str, str | bool],
        any_true: Sequence[str] = (),
    ) -> list[bool]:
        """See ``History``."""
        wanted = type_test(tuple(event_types))
        return [
            any(
                wanted(row.event_type)
                and (row.published, row.uuid) != (query.published, query.uuid)
                and qualifies(row, conditions, any_true)
                for row in self._between(column, query.value, query.since, query.published)
            )
            for query in queries
        ]

    def pasts(self, queries: Sequence[PastQuery]) -> list[Past]:
        """See ``History``. There are no verdicts."""
        found = []
        for actor, service, published in queries:
            recent = self._between("actor_id", actor, shifted(published, -FAILURE_WINDOW), published)
            failures = [(row.published, row.uuid) for row in recent if failed_actor(row)]
            first = shifted(published, -FAMILIAR_WINDOW)[:10]
            days = [day for day in self._days.get((actor, service), ()) if first <= day < published[:10]]
            found.append(Past(frozenset(failures), frozenset(days)))
        return found

    def began(self, event_types: Sequence[str]) -> str | None:
        """See ``History``."""
        wanted = type_test(tuple(event_types))
        return min((row.published for row in self._rows.values() if wanted(row.event_type)), default=None)

    def _between(self, column: str, value: str, since: str, until: str) -> list[HistoryRow]:
        rows = self._by_value.get((column, value), [])
        return rows[bisect_left(rows, since, key=_published) : bisect_right(rows, until, key=_published)]


def qualifies(row: HistoryRow, conditions: Mapping[str, str | bool], any_true: Sequence[str]) -> bool:
    """Return whether a row has all values of ``conditions``, and true in a column of ``any_true`` unless that is empty."""
    return all(getattr(row, name) == value for name, value in conditions.items()) and (
        not any_true or any(getattr(row, name) is True for name in any_true)
    )


_SEARCHED: tuple[Column, ...] = get_args(Column)


def _published(row: HistoryRow) -> str:
    return row.published
