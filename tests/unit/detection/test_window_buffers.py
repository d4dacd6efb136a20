"""Window buffers that are kept from page to page agree with plain lists of all events."""

import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.rule import Key
from oktawatch.detection.window_buffers import WindowBuffers, WindowScan
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import to_text
from tests.unit.detection.events import NOON

WINDOW, LATEST = 3, 4
"""The length of a window, and the maximum delay of an event, in minutes."""

Place = tuple[str, str]
Found = tuple[Key, Place, list[Place]]

ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-LATEST, 2), st.sampled_from("123")), max_size=8
)
PAGES = st.lists(st.tuples(ARRIVALS, st.integers(0, 6), st.booleans()), max_size=8)


def at(minute: int) -> str:
    """Return a time as text."""
    return to_text(NOON + timedelta(minutes=minute))


def place(row: HistoryRow) -> Place:
    """Return the key by which a buffer is sorted."""
    return (row.published, row.uuid)


def scan(buffers: WindowBuffers, page: Sequence[tuple[Key, HistoryRow]], fewest: int) -> list[Found]:
    """Scan a page; return the matching events, which include earlier events that match now."""
    holds = lambda window: len(window) >= fewest  # noqa: E731 -- a rule's predicate
    scanning = WindowScan(buffers, timedelta(minutes=WINDOW), holds, fewest=fewest)
    return [
        (key, place(found), [place(one) for one in window])
        for key, row in page
        for found, window in scanning.insert(key, row)
    ]


def expected(
    known: dict[Key, dict[Place, int]], page: Sequence[tuple[Key, Place, int]], fewest: int
) -> Iterator[Found]:
    """Return the same as `scan`, by examining all windows after each event."""
    reported = set()
    for key, arrived, minute in page:
        minutes = known.setdefault(key, {})
        minutes[arrived] = minute
        for one in sorted(minutes):
            window = [
                other for other in sorted(minutes) if other <= one and minutes[other] >= minutes[one] - WINDOW
            ]
            affected = one >= arrived and minutes[one] <= minute + WINDOW
            if affected and len(window) >= fewest and (key, one) not in reported:
                reported.add((key, one))
                yield key, one, window


@given(PAGES, st.integers(1, 4))
def test_buffered_windows_agree_with_complete_lists(
    pages: list[tuple[list[tuple[str, int, str]], int, bool]], fewest: int
) -> None:
    """Buffered windows agree with complete lists, for late, repeated and pruned events."""
    buffers = WindowBuffers()
    known: dict[Key, dict[Place, int]] = {}
    now = 0
    for drawn, later, forgets in pages:
        now += later
        if forgets:
            buffers.delete_before(at(now - LATEST - WINDOW))
        page = [((name,), HistoryRow(at(now + minute), uuid, "x")) for name, minute, uuid in drawn]
        minutes = [now + minute for _, minute, _ in drawn]
        plain = [(key, place(row), minute) for (key, row), minute in zip(page, minutes, strict=True)]
        assert scan(buffers, page, fewest) == list(expected(known, plain, fewest))


@given(st.lists(ARRIVALS, max_size=6))
def test_deleted_events_are_in_no_window(pages: list[list[tuple[str, int, str]]]) -> None:
    """Deleted events are not in the buffers, and all later events are."""
    buffers = WindowBuffers()
    expected_events: set[tuple[str, Place]] = set()
    for number, drawn in enumerate(pages):
        now = number * 3
        rows = [(name, HistoryRow(at(now + minute), uuid, "x")) for name, minute, uuid in drawn]
        buffers.insert(((name,), row) for name, row in rows)
        expected_events |= {(name, place(row)) for name, row in rows}
        buffers.delete_before(at(now))
        expected_events = {(name, when) for name, when in expected_events if when[0] >= at(now)}
        assert {(name, place(row)) for name in "abc" for row in buffers.buffer((name,))} == expected_events


def test_deleted_events_are_released() -> None:
    """Keys without recent events are removed from the buffers."""
    buffers = WindowBuffers()
    rows = [HistoryRow(at(minute), "1", "x") for minute in range(4)]
    held = [sys.getrefcount(row) for row in rows]
    buffers.insert([(("a",), rows[0]), (("b",), rows[1]), (("b",), rows[2]), (("b",), rows[3])])
    buffers.delete_before(at(2))
    assert [sys.getrefcount(row) for row in rows] == [*held[:2], held[2] + 1, held[3] + 1]
    buffers.delete_before(at(10))
    assert [sys.getrefcount(row) for row in rows] == held
