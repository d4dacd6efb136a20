"""Failures in a row are logged once, and retried with increasing delays."""

from datetime import timedelta
from functools import partial

import pytest
from structlog.testing import capture_logs

from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff

INTERVAL = timedelta(seconds=30)


def test_failures_in_a_row_are_logged_once() -> None:
    """Of equal failures in a row, the first one and the end are logged."""
    failure_log = FailureLog("poll", org="acme")

    with capture_logs() as logs:
        for _ in range(3):
            failure_log.failed("unavailable", OSError("no route"))
        failure_log.ended()
        failure_log.ended()

    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("poll_failed", "error"),
        ("poll_recovered", "info"),
    ]
    assert (logs[0]["org"], logs[0]["reason"], logs[0]["error"]) == ("acme", "unavailable", "no route")
    assert logs[1]["failures"] == 3


def test_a_changed_reason_is_logged() -> None:
    """A changed reason is logged, and the failures are still counted together."""
    failure_log = FailureLog("poll")

    with capture_logs() as logs:
        for reason in ("unavailable", "unavailable", "token_refused", "unavailable"):
            failure_log.failed(reason, OSError(reason))
        failure_log.ended()

    reasons = [line.get("reason") for line in logs]
    assert reasons == ["unavailable", "token_refused", "unavailable", None]
    assert logs[-1]["failures"] == 4
    assert logs[-1]["reasons"] == {"unavailable": 3, "token_refused": 1}


def test_each_series_of_failures_is_counted_separately() -> None:
    """Each series of failures is counted and logged separately."""
    failure_log = FailureLog("poll")

    with capture_logs() as logs:
        for reason in ("unavailable", "rate_limited"):
            failure_log.failed(reason, OSError(reason))
            failure_log.ended()

    assert [line["reasons"] for line in logs if "reasons" in line] == [
        {"unavailable": 1},
        {"rate_limited": 1},
    ]


def test_an_unexpected_exception_is_logged_with_its_traceback() -> None:
    """An unexpected exception is logged with its type, and with a traceback at level debug."""
    error = ZeroDivisionError("a bug")

    with capture_logs() as logs:
        FailureLog("poll").failed(UNEXPECTED, error)

    assert logs[0]["exc_info"] is error


@pytest.mark.parametrize(
    ("slowly", "minutes"), [(False, [0.5, 1, 2, 4, 5, 5]), (True, [2, 4, 8, 15, 15, 15])]
)
def test_backoff_doubles_up_to_its_limit(slowly: bool, minutes: list[float]) -> None:
    """Each delay doubles, up to five minutes, or fifteen for failures that need a person."""
    waits = [backoff(n, INTERVAL, slowly=slowly, jitter=lambda: 0.5) for n in range(1, 7)]

    assert waits == [timedelta(minutes=wait) for wait in minutes]


def test_backoff_has_jitter() -> None:
    """The back-off has a jitter of a quarter in both directions."""
    spread = [backoff(1, INTERVAL, jitter=partial(float, at)) for at in (0.0, 1.0)]

    assert spread == [timedelta(seconds=22.5), timedelta(seconds=37.5)]


def test_backoff_is_limited_for_any_number_of_failures() -> None:
    """Even a huge number of failures results in the longest delay."""
    assert backoff(10**6, INTERVAL, jitter=lambda: 0.5) == timedelta(minutes=5)


def test_backoff_does_not_depend_on_a_long_poll_interval() -> None:
    """An org that is polled once an hour is tried again in half a minute, not in an hour."""
    assert backoff(1, timedelta(hours=1), jitter=lambda: 0.5) == timedelta(seconds=30)
