"""The watchdog is fed while rounds end, and not when one is stuck."""

from datetime import timedelta

from oktawatch.service.watchdog import Watchdog

INTERVAL = timedelta(seconds=30)
_MINUTE = 60.0


class Clock:
    """A monotonic clock that the test advances."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.time


def test_a_round_that_does_not_end_is_stuck() -> None:
    """An org whose next round has not ended after ten minutes is stuck, and others are not."""
    clock = Clock()
    health = Watchdog(["acme", "globex"], clock=clock)
    for org in ("acme", "globex"):
        health.round_ended(org, next_in=INTERVAL)

    clock.time += 9.9 * _MINUTE
    assert health.stuck() == []
    health.round_ended("globex", next_in=INTERVAL)
    clock.time += 0.2 * _MINUTE

    assert health.stuck() == ["acme"]


def test_a_first_round_that_does_not_end_is_stuck() -> None:
    """The start counts as the end of a round."""
    clock = Clock()
    health = Watchdog(["acme"], clock=clock)

    clock.time += 10.1 * _MINUTE

    assert health.stuck() == ["acme"]


def test_an_org_is_not_stuck_once_its_round_has_ended() -> None:
    """An org is no longer stuck once its round has ended, however late."""
    clock = Clock()
    health = Watchdog(["acme"], clock=clock)
    clock.time += 11 * _MINUTE

    health.round_ended("acme", next_in=INTERVAL)

    assert health.stuck() == []


def test_a_waiting_org_is_not_stuck() -> None:
    """An org that waits for its next round, for an hour or after failures, is not stuck."""
    clock = Clock()
    health = Watchdog(["acme"], clock=clock)
    health.round_ended("acme", next_in=timedelta(hours=1))

    clock.time += 61 * _MINUTE
    assert health.stuck() == []
    clock.time += 10 * _MINUTE

    assert health.stuck() == ["acme"]
