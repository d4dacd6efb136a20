"""The rounds of pruning end, in spite of any failure."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.pruning import SOON, Pruning
from oktawatch.store.errors import StoppedError, StoreError

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class Rounds:
    """Rounds that end as the test sets."""

    def __init__(self, *ends: Counter[str] | Exception) -> None:
        self.ends = list(ends)
        self.count = 0

    async def __call__(self) -> Counter[str]:
        """End."""
        self.count += 1
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def _pruning(rounds: Rounds, *, okta_time: datetime | None = NOW) -> Pruning:
    return Pruning(
        rounds,
        now=lambda: NOW,
        okta_time=lambda: okta_time,
        database_trouble=DatabaseTrouble(lost=lambda: None),
    )


async def _logged(*ends: Counter[str] | Exception) -> list[dict[str, Any]]:
    rounds = Rounds(*ends)
    pruning = _pruning(rounds)
    with capture_logs() as logs:
        for _ in ends:
            assert await pruning.round() is None
    return [dict(line) for line in logs]


async def test_deleted_rows_are_logged() -> None:
    """One line reports what was deleted, and a round without deletions logs nothing."""
    (line,) = await _logged(Counter(), Counter(events=3, alerts=1, leases=0))
    assert line == {"event": "pruned", "log_level": "info", "alerts": 1, "events": 3}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreError("disk full"), ["database_failed", "database_recovered"]),
        (KeyError("a bug"), ["pruning_failed", "pruning_recovered"]),
        (StoppedError("stopping"), []),
    ],
)
async def test_pruning_continues_after_a_database_failure(error: Exception, expected: list[str]) -> None:
    """A failing database is logged once, and pruning continues."""
    lines = [line["event"] for line in await _logged(error, error, Counter(events=1))]
    assert lines == [*expected, "pruned"]


async def test_deleting_nothing_does_not_end_a_database_failure() -> None:
    """A round that deletes nothing doesn't end the database's trouble, because the disk may still be full."""
    lines = [line["event"] for line in await _logged(StoreError("disk full"), Counter(), Counter(events=1))]
    assert lines == ["database_failed", "database_recovered", "pruned"]

    only_empty = [line["event"] for line in await _logged(StoreError("disk full"), Counter())]
    assert only_empty == ["database_failed"]


@pytest.mark.parametrize(
    "okta_time", [None, NOW - timedelta(days=9_000), NOW - timedelta(days=2), NOW + timedelta(days=2)]
)
async def test_nothing_is_pruned_while_the_clock_disagrees_with_oktas(okta_time: datetime | None) -> None:
    """Nothing is pruned while the clock disagrees with Okta's."""
    rounds = Rounds()

    assert await _pruning(rounds, okta_time=okta_time).round() == SOON
    assert rounds.count == 0
