"""A daemon counts as running while it writes its row."""

from datetime import timedelta

import pytest

from oktawatch.engine.daemon_health import are_good, judge_daemons
from oktawatch.store.daemons import DaemonRow
from tests.support.databases import NOW


def _row(age: timedelta, name: str = "web-1") -> DaemonRow:
    return DaemonRow(
        name=name,
        version="0.1.0",
        started_at=NOW - timedelta(days=3),
        seen_at=NOW - age,
        state="watching 2 orgs",
    )


@pytest.mark.parametrize(
    ("age", "problem"),
    [
        (timedelta(seconds=12), ""),
        (timedelta(seconds=90), ""),
        (timedelta(seconds=-30), ""),
        (
            timedelta(seconds=91),
            "it has not written for 91s: it was killed, or it can't write to its database",
        ),
        (timedelta(hours=23), "it has not written for 23h"),
        (timedelta(minutes=-2), "it wrote at a time in the future: the clock was set back"),
    ],
)
def test_a_daemon_with_a_fresh_row_is_running(age: timedelta, problem: str) -> None:
    """A daemon runs while its row is fresh. A row from the future is a problem, because its age is unknown."""
    (daemon,) = judge_daemons([_row(age)], now=NOW)
    assert (daemon.problem or "").startswith(problem)
    assert daemon.running == are_good([daemon]) == (not problem)


def test_no_daemon_is_no_problem() -> None:
    """Without a row, or with only a row of last week, no daemon is expected to run."""
    assert judge_daemons([_row(timedelta(days=7))], now=NOW) == []
    assert are_good([])


def test_one_of_two_replicas_is_enough() -> None:
    """A replica that was killed is reported, but another one does its work."""
    daemons = judge_daemons([_row(timedelta(seconds=5)), _row(timedelta(minutes=5), "web-2")], now=NOW)
    assert [daemon.running for daemon in daemons] == [True, False]
    assert are_good(daemons)
