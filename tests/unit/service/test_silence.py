"""The rounds of the silence alarm end, in spite of any failure."""

from collections import Counter
from datetime import timedelta
from typing import cast

import pytest
from structlog.testing import capture_logs

from oktawatch.engine.silence import SilenceWatch
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.silence import SilenceChecks, check_interval
from oktawatch.store.errors import StoppedError, StoreError, WriteFailedError


class Watch:
    """A silence watch whose checks end as the test sets."""

    def __init__(self, *ends: bool | Exception) -> None:
        self.undecided: set[str] = set()
        self._ends = list(ends)

    async def check(self) -> bool:
        """End."""
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def _checks(watch: Watch, calls: Counter[str], trouble: DatabaseTrouble | None = None) -> SilenceChecks:
    return SilenceChecks(
        cast("SilenceWatch", watch),
        database_trouble=trouble or DatabaseTrouble(lost=lambda: None),
        enqueued=lambda: calls.update(["enqueued"]),
        complete=lambda: calls.update(["complete"]),
    )


async def _rounds(*ends: bool | Exception) -> tuple[int, list[str]]:
    calls: Counter[str] = Counter()
    checks = _checks(Watch(*ends), calls)
    with capture_logs() as logs:
        for _ in ends:
            await checks.round()
    return calls["enqueued"], [line["event"] for line in logs]


async def test_enqueued_alarms_are_delivered_at_once() -> None:
    """A check that enqueues alarms triggers their delivery."""
    assert await _rounds(False, True, False) == (1, [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # Only an alarm that was written ends it: a check that finds nothing has only read.
        (StoreError("disk full"), ["database_failed", "database_recovered"]),
        (KeyError("a bug"), ["silence_check_failed", "silence_check_recovered"]),
        (StoppedError("stopping"), []),
    ],
)
async def test_checks_continue_after_a_database_failure(error: Exception, expected: list[str]) -> None:
    """A failing database is logged once, and the checks continue."""
    assert await _rounds(error, error, True) == (1, expected)


async def test_a_check_with_alarms_or_failures_is_not_complete() -> None:
    """A check that raised alarms, failed, or has undecided orgs is not complete."""
    for end, undecided, complete in (
        (False, set[str](), 1),
        (False, {"acme"}, 0),
        (True, set[str](), 0),
        (KeyError("a bug"), set[str](), 0),
    ):
        calls: Counter[str] = Counter()
        watch = Watch(end)
        watch.undecided = undecided
        await _checks(watch, calls).round()
        assert calls["complete"] == complete


async def test_an_unneeded_alarm_does_not_prolong_a_database_failure() -> None:
    """If the refused write of an alarm is no longer needed, the next write of any job ends the database's trouble."""
    trouble = DatabaseTrouble(lost=lambda: None)
    checks = _checks(Watch(WriteFailedError("read-only"), False), Counter(), trouble)
    await checks.round()
    trouble.wrote("probe")
    assert trouble.failures == 1
    await checks.round()
    assert trouble.failures == 1
    trouble.wrote("probe")
    assert trouble.failures == 0


@pytest.mark.parametrize(("after", "often"), [("15m", 30.0), ("10s", 5.0)])
def test_the_interval_is_short_compared_to_silence_after(after: str, often: float) -> None:
    """The interval of the checks is short compared to `silence.after`."""
    from oktawatch.model.durations import parse_duration

    assert check_interval(parse_duration(after)) == timedelta(seconds=often)
