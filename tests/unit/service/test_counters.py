"""Pages, polls and deliveries are counted."""

from hypothesis import given
from hypothesis import strategies as st

from oktawatch.engine.pipeline import PageResult
from oktawatch.model.severity import Severity
from oktawatch.service.counters import POLL_SECONDS, Counters, Histogram


def test_a_page_is_counted_by_its_reader() -> None:
    """A poll counts known events as duplicates; a sweep counts new ones as late and expects the others."""
    counters = Counters()
    page = PageResult(
        pages=1,
        events=10,
        new_events=7,
        rejected=2,
        alerts={("R1", Severity.HIGH): 2, ("R2", Severity.LOW): 1},
    )
    counters.polled("acme", page)
    counters.swept("acme", page)
    counters.polled("globex", PageResult(pages=1))

    assert counters.events == {"acme": 20, "globex": 0}
    assert counters.duplicates == {"acme": 3, "globex": 0}
    assert counters.late == {"acme": 7}
    assert counters.rejected == {"acme": 4, "globex": 0}
    assert counters.alerts == {("acme", "R1", Severity.HIGH): 4, ("acme", "R2", Severity.LOW): 2}


@given(st.lists(st.floats(0, 1_000)))
def test_each_value_is_in_one_bucket(values: list[float]) -> None:
    """A bucket holds the values up to and including its bound, as Prometheus defines `le`."""
    histogram = Histogram(POLL_SECONDS)
    for value in values:
        histogram.observe(value)

    for number, bound in enumerate(POLL_SECONDS):
        assert sum(histogram.counts[: number + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert histogram.sum == sum(values)
