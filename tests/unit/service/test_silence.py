"""The rounds of the silence alarm end, in spite of any failure."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.silence import SilenceChecks, interval
from oktawatch.store.errors import StoppedError, StoreError


class Checks:
    """Checks that end as the test sets."""

    def __init__(self, *ends: bool | Exception) -> None:
        self.ends = list(ends)

    async def __call__(self) -> bool:
        """End."""
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def _rounds(*ends: bool | Exception) -> tuple[int, list[str]]:
    told: list[None] = []
    silence = SilenceChecks(
        Checks(*ends), database_trouble=DatabaseTrouble(lost=lambda: None), enqueued=lambda: told.append(None)
    )
    with capture_logs() as logs:
        for _ in ends:
            await silence.round()
    return len(told), [line["event"] for line in logs]


async def test_what_is_told_is_sent_at_once() -> None:
    """Delivery is asked for when there is something to deliver."""
    assert await _rounds(False, True, False) == (1, [])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        # Only an alarm that was written ends it: a check that finds nothing has only read.
        (StoreError("disk full"), ["database_failed", "database_recovered"]),
        (KeyError("a bug"), ["silence_check_failed", "silence_check_recovered"]),
        (StoppedError("stopping"), []),
    ],
)
async def test_trouble_is_outlived(error: Exception, said: list[str]) -> None:
    """A failing database is logged once, and the checks continue."""
    assert await _rounds(error, error, True) == (1, said)


@pytest.mark.parametrize(("after", "often"), [("15m", 30.0), ("10s", 5.0)])
def test_it_looks_often_enough(after: str, often: float) -> None:
    """Silence is noticed soon after it has lasted long enough."""
    from oktawatch.model.durations import parse_duration

    assert interval(parse_duration(after)) == timedelta(seconds=often)
