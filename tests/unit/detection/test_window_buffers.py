"""WindowBuffers that are kept from page to page, against plain lists of all that came."""

import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.detection.rule import Key
from oktawatch.detection.window_buffers import Reading, WindowBuffers
from oktawatch.model.history import HistoryRow
from oktawatch.model.timestamps import to_text
from tests.unit.detection.events import NOON

WINDOW, LATEST = 3, 4
"""Minutes that a window reaches back, and that an event may be late."""

Place = tuple[str, str]
Found = tuple[Key, Place, list[Place]]

ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-LATEST, 2), st.sampled_from("123")), max_size=8
)
PAGES = st.lists(st.tuples(ARRIVALS, st.integers(0, 6), st.booleans()), max_size=8)


def at(minute: int) -> str:
    """Write a time."""
    return to_text(NOON + timedelta(minutes=minute))


def place(row: HistoryRow) -> Place:
    """Give what a timeline is ordered by."""
    return (row.published, row.uuid)


def read(timelines: WindowBuffers, page: Sequence[tuple[Key, HistoryRow]], fewest: int) -> list[Found]:
    """Give the events of a page that match, and those that it was late for."""
    reading = Reading(timedelta(minutes=WINDOW), lambda window: len(window) >= fewest, fewest=fewest)
    return [
        (key, place(found), [place(one) for one in window])
        for key, row, timeline in timelines.arriving(page)
        for found, window in reading.arrived(key, row, timeline)
    ]


def expected(
    known: dict[Key, dict[Place, int]], page: Sequence[tuple[Key, Place, int]], fewest: int
) -> Iterator[Found]:
    """Give the same by looking at everything after each event."""
    given_already = set()
    for key, came, minute in page:
        minutes = known.setdefault(key, {})
        minutes[came] = minute
        for one in sorted(minutes):
            window = [
                other for other in sorted(minutes) if other <= one and minutes[other] >= minutes[one] - WINDOW
            ]
            concerned = one >= came and minutes[one] <= minute + WINDOW
            if concerned and len(window) >= fewest and (key, one) not in given_already:
                given_already.add((key, one))
                yield key, one, window


@given(PAGES, st.integers(1, 4))
def test_what_is_kept_decides_as_all_that_came(
    pages: list[tuple[list[tuple[str, int, str]], int, bool]], fewest: int
) -> None:
    """Late, again, at equal times; whatever was forgotten meanwhile that no window reaches back to any more."""
    timelines = WindowBuffers(timedelta(minutes=WINDOW), fewest=fewest)
    known: dict[Key, dict[Place, int]] = {}
    now, came, old = 0, list[int](), list[int]()
    for drawn, later, forgets in pages:
        now += later
        if forgets:
            needed = now - LATEST - WINDOW
            timelines.forget_before(at(needed), all_old=all(minute < needed for minute in old))
            old, came = [minute for minute in old if minute >= needed] + came, []
        page = [((name,), HistoryRow(at(now + minute), uuid, "x")) for name, minute, uuid in drawn]
        minutes = [now + minute for _, minute, _ in drawn]
        plain = [(key, place(row), minute) for (key, row), minute in zip(page, minutes, strict=True)]
        assert read(timelines, page, fewest) == list(expected(known, plain, fewest))
        came += minutes


@given(st.lists(ARRIVALS, max_size=6))
def test_what_was_forgotten_takes_no_room(pages: list[list[tuple[str, int, str]]]) -> None:
    """Asked a second time, it has forgotten what came since the first, too."""
    timelines = WindowBuffers(timedelta(minutes=WINDOW), fewest=3)
    for number, drawn in enumerate(pages):
        now = number * 3
        timelines.remember(
            [((name,), HistoryRow(at(now + minute), uuid, "x")) for name, minute, uuid in drawn]
        )
        for moment in (now - 1, now):
            timelines.forget_before(at(moment))
        assert all(row.published >= at(now) for name in "abc" for row in timelines.rows_of((name,)))


def test_a_key_that_goes_on_and_on_keeps_what_is_recent() -> None:
    """Its timeline goes from generation to generation, and its events don't."""
    timelines = WindowBuffers(timedelta(minutes=WINDOW), fewest=3)
    for minute in range(30):
        timelines.remember([(("a",), HistoryRow(at(minute), "1", "x"))])
        assert len(timelines.rows_of(("a",))) <= WINDOW + 1 + 5
        if minute % 5 == 4:
            timelines.forget_before(at(minute - WINDOW), all_old=True)


def test_who_is_forgotten_is_held_by_nothing() -> None:
    """Keys that had several events and come no more don't pile up, be they of the older generation or the newer."""
    timelines = WindowBuffers(timedelta(minutes=WINDOW), fewest=3)
    rows = [HistoryRow(at(minute), "1", "x") for minute in range(4)]
    held = [sys.getrefcount(row) for row in rows]
    timelines.remember([(("a",), rows[0]), (("b",), rows[1])])
    timelines.forget_before(at(0))
    timelines.remember([(("b",), rows[2]), (("b",), rows[3])])
    for _ in range(2):
        timelines.forget_before(at(10))
    assert [sys.getrefcount(row) for row in rows] == held
