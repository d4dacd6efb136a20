"""The rounds of a notifier end, in spite of any failure."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from oktawatch.service import delivery
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.delivery import Delivery
from oktawatch.store.errors import StoppedError, StoreError


class Rounds:
    """A notifier whose rounds end as the test sets; None is a round that never ends."""

    name = "soc"
    failed = 0

    def __init__(self, *ends: int | Exception | None) -> None:
        self.ends = list(ends)

    async def round(self) -> int:
        """End."""
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        if end is None:
            await asyncio.Event().wait()
        return end or 0


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Collect the log."""
    with capture_logs() as lines:
        yield lines


async def _rounds(notifier: Rounds) -> list[timedelta | None]:
    delivery = Delivery(notifier, database_trouble=DatabaseTrouble(lost=lambda: None))
    return [await delivery.round() for _ in range(len(notifier.ends))]


async def test_a_round_is_followed_after_the_usual_interval(logs: list[EventDict]) -> None:
    """A round with or without deliveries is followed by the next one after the usual interval."""
    assert await _rounds(Rounds(0, 3)) == [None, None]

    assert logs == []


async def test_an_exception_of_a_channel_is_logged_once(logs: list[EventDict]) -> None:
    """An unexpected exception of a channel is logged once and retried with back-off."""
    waits = await _rounds(Rounds(KeyError("a bug"), KeyError("a bug"), 1))

    assert [(line["event"], line["notifier"]) for line in logs] == [
        ("delivery_round_failed", "soc"),
        ("delivery_round_recovered", "soc"),
    ]
    assert waits[0] is not None
    assert waits[2] is None


async def test_a_delivery_ends_a_database_failure(logs: list[EventDict]) -> None:
    """A delivery ends the database's failures, but reading an empty outbox does not."""
    await _rounds(Rounds(StoreError("disk full"), StoreError("disk full"), 0, 1))

    assert [line["event"] for line in logs] == ["database_failed", "database_recovered"]


async def test_a_hanging_channel_is_cancelled(logs: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that hangs is cancelled at the time limit of its round."""
    monkeypatch.setattr(delivery, "TIME_LIMIT", timedelta())

    (wait,) = await _rounds(Rounds(None))

    assert wait is not None
    assert [(line["event"], line["reason"]) for line in logs] == [("delivery_round_failed", "timed_out")]


async def test_a_stop_is_not_logged_as_a_failure(logs: list[EventDict]) -> None:
    """A transaction that is abandoned because the daemon stops is not logged as a failure."""
    assert await _rounds(Rounds(StoppedError("stopping"))) == [None]

    assert logs == []
