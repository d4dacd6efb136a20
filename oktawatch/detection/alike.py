"""Events that are alike in all that a predicate decides by: it is asked once for all of them.

Of a page of a thousand events a rule that decides by outcome and risk sees perhaps four sorts. Its predicate
says by which columns it decides, and is shown an event that has these and no other. So what it declares is
what it gets: a predicate that reads another column finds nothing there, in its first test case.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import compress, count
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from oktawatch.model.history import COLUMNS, HistoryRow

Predicate = TypeVar("Predicate", bound=Callable[..., bool])


def decides_by(*columns: str) -> Callable[[Predicate], Predicate]:
    """Say that a predicate reads just these columns of history beside the event type, of few different values each."""
    known = HistoryRow.__struct_fields__[:COLUMNS]
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(f"history has no {', '.join(unknown)}; there are: {', '.join(known)}")

    def marked(predicate: Predicate) -> Predicate:
        vars(predicate)["decides_by"] = columns
        return predicate

    return marked


def columns_of(*predicates: Callable[..., bool]) -> tuple[str, ...] | None:
    """Give the columns that predicates decide by; None if one does not say."""
    columns: dict[str, Any] = {}
    for predicate in predicates:
        said = getattr(predicate, "decides_by", None)
        if said is None:
            return None
        columns |= dict.fromkeys(said)
    return tuple(columns)


_FEW = 4
"""So many times as many events as sorts are worth sharing the sorts: asking about one costs as much as sorting four."""


class PageRows(list[HistoryRow]):
    """A page's rows, to be sorted once for all rules."""

    def __init__(self, rows: Iterable[HistoryRow], columns: tuple[str, ...]) -> None:
        """``columns``: all that any of the rules decides by."""
        super().__init__(rows)
        self.columns = columns

    @cached_property
    def sorts(self) -> "Sorts":
        """The sorts that are on the page."""
        return _sorts(self, self.columns)

    def tells(self, columns: tuple[str, ...]) -> bool:
        """Tell whether the page's sorts serve a predicate that decides by these columns, and are few."""
        return set(columns) <= set(self.columns) and len(self.sorts.examples) * _FEW <= len(self)


class Sorts(NamedTuple):
    """Which sorts of events there are."""

    of_rows: list[int]
    """The number of each row's."""
    examples: list[HistoryRow]
    """A row of each."""


def _sorts(rows: Sequence[HistoryRow], columns: tuple[str, ...]) -> Sorts:
    numbers = defaultdict[Any, int](count().__next__)
    of_rows = list(map(numbers.__getitem__, map(attrgetter("event_type", *columns), rows)))
    return Sorts(of_rows, list(dict(zip(of_rows, rows, strict=True)).values()))


def alike(
    rows: Sequence[HistoryRow],
    columns: tuple[str, ...] | None,
    holds: Callable[[HistoryRow], bool],
    failed: Callable[[str, Exception], None],
) -> Sequence[HistoryRow]:
    """Give the rows of which a predicate holds that decides by ``event_type`` and ``columns``; None: by anything.

    ``failed`` is told what it raised of a sort, with the uuid of one of that sort.
    """
    if columns is None:
        return _each(rows, holds, failed)
    of_rows, held = _asked(rows, columns, holds, failed)
    if all(held):
        return rows
    return list(compress(rows, map(held.__getitem__, of_rows))) if any(held) else []


def marks(
    rows: Sequence[HistoryRow],
    columns: tuple[str, ...] | None,
    holds: Callable[[HistoryRow], bool],
    failed: Callable[[str, Exception], None],
) -> Iterable[bool]:
    """Tell of each row whether the predicate holds. The rest is as in ``alike``."""
    if columns is None:
        return [_holds(holds, row, failed) for row in rows]
    of_rows, held = _asked(rows, columns, holds, failed)
    return map(held.__getitem__, of_rows)


def _asked(
    rows: Sequence[HistoryRow],
    columns: tuple[str, ...],
    holds: Callable[[HistoryRow], bool],
    failed: Callable[[str, Exception], None],
) -> tuple[list[int], list[bool]]:
    """Give the number of each row's sort, and of each sort whether the predicate holds."""
    sorts = rows.sorts if isinstance(rows, PageRows) and rows.tells(columns) else _sorts(rows, columns)
    return sorts.of_rows, [_holds(holds, _bare(row, columns), failed) for row in sorts.examples]


def _bare(row: HistoryRow, columns: tuple[str, ...]) -> HistoryRow:
    shown = {"published": "", "uuid": row.uuid, "event_type": row.event_type}
    return HistoryRow(**shown | {name: getattr(row, name) for name in columns})


def _each(
    rows: Sequence[HistoryRow], holds: Callable[[HistoryRow], bool], failed: Callable[[str, Exception], None]
) -> list[HistoryRow]:
    try:
        return list(filter(holds, rows))
    except Exception:  # noqa: BLE001 -- asked one by one, it tells of which it raised
        return [row for row in rows if _holds(holds, row, failed)]


def _holds(
    holds: Callable[[HistoryRow], bool], row: HistoryRow, failed: Callable[[str, Exception], None]
) -> bool:
    try:
        return bool(holds(row))
    except Exception as error:  # noqa: BLE001 -- a rule may raise anything, and must not stop its page
        failed(row.uuid, error)
        return False
