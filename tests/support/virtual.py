"""Time that passes when somebody sleeps."""

import asyncio
from datetime import UTC, datetime, timedelta

from oktawatch.systemlog.budget import RateBudget

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class VirtualTime:
    """A simulated org's clock and everything that its client needs of time."""

    def __init__(self) -> None:
        """Start at a fixed time."""
        self.now = START
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        """Tell the time, as the org does."""
        return self.now

    def monotonic(self) -> float:
        """Give the seconds since the start, as a client counts them."""
        return (self.now - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Let time pass; others run too."""
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += timedelta(seconds=seconds)

    def budget(self, share: float = 1.0, *, jitter: float = 0.0) -> RateBudget:
        """Make an org's budget that goes by this time."""
        return RateBudget(share, clock=self.monotonic, sleep=self.sleep, jitter=lambda: jitter)
