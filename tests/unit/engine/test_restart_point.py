"""A restart reads every event that can still be missing, whatever dates the events have."""

from datetime import timedelta
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.engine import restart_point
from oktawatch.engine.restart_point import RestartPoint
from tests.support.databases import NOW
from tests.support.streams import event, page

BEGINNING = NOW - timedelta(days=3)
BLOCK = 4
FUTURE = st.timedeltas(timedelta(seconds=1), timedelta(days=10_000))
PAST = st.timedeltas(timedelta(), timedelta(days=10))
HONEST = PAST.map(lambda age: -age)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[timedelta, timedelta]]:
    """Draw events in order: when each is persisted, and by how much ``published`` differs from it.

    Fewer events in a row than a block are dated into the future.
    """
    persisted = sorted(draw(st.lists(st.timedeltas(timedelta(), timedelta(days=3)), max_size=30)))
    differences: list[timedelta] = []
    for _ in persisted:
        lately = differences[-(BLOCK - 1) :]
        lying = len(lately) == BLOCK - 1 and all(difference > timedelta() for difference in lately)
        differences.append(draw(HONEST if lying else st.one_of(HONEST, FUTURE)))
    return list(zip(persisted, differences, strict=True))


@given(histories(), st.data())
def test_everything_before_the_restart_point_is_committed(
    history: list[tuple[timedelta, timedelta]], data: st.DataObject
) -> None:
    """Every event before the restart point is committed, for any page size, event dates and pages that are empty by mistake."""
    point = RestartPoint(at=BEGINNING)
    place = 0
    with mock.patch.object(restart_point, "BLOCK", BLOCK):
        while place < len(history):
            if data.draw(st.booleans()):
                mistaken = point.after(page(caught_up=True, following="x"))
                assert mistaken.at == point.at
                point = mistaken
            end = data.draw(st.integers(place + 1, len(history)))
            events = [
                event(number, at=persisted + difference - timedelta(days=3))
                for number, (persisted, difference) in enumerate(history[place:end], start=place)
            ]
            before, point, place = point, point.after(page(events, following="y")), end
            assert before.at <= point.at <= NOW
            assert all(BEGINNING + persisted >= point.at for persisted, _ in history[place:])


def test_a_block_of_events_moves_the_point() -> None:
    """A page moves the restart point to its oldest event."""
    events = [event(number, at=-timedelta(minutes=2000 - number)) for number in range(1000)]
    whole = RestartPoint(at=BEGINNING).after(page(events, following="x"))
    first = RestartPoint(at=BEGINNING).after(page(events[:999], following="x"))
    assert whole.at == NOW - timedelta(minutes=2000)
    assert first.at == BEGINNING
    assert first.after(page(events[999:], following="y")) == whole


def test_two_polls_that_caught_up_move_the_point_to_the_first() -> None:
    """The second of two polls that caught up moves the point to the first, because one may be empty by mistake."""
    later = NOW + timedelta(seconds=30)
    once = RestartPoint(at=BEGINNING).after(page(caught_up=True, following="x"))
    twice = once.after(page(caught_up=True, following="y", date=later))
    assert (once.at, twice.at) == (BEGINNING, NOW)
    assert once.after(page([event(1)], following="y", date=later)).caught_up_date is None


def test_the_point_does_not_move_without_oktas_date() -> None:
    """Without Okta's Date, the point stays, because this machine's clock may be wrong."""
    events = [event(number) for number in range(1000)]
    point = RestartPoint(at=BEGINNING)
    assert point.after(page(events, following="x", date=None)).at == BEGINNING
    tail = page(caught_up=True, following="x", date=None)
    assert point.after(tail).after(tail).at == BEGINNING


def test_a_page_that_links_to_itself_does_not_move_the_point() -> None:
    """A page that links to itself does not move the restart point."""
    stuck = page(caught_up=True, query="x", following="x")
    assert RestartPoint(at=BEGINNING).after(stuck).after(stuck).at == BEGINNING
