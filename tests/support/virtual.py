"""Virtual time, which advances when a task sleeps."""

import asyncio
from datetime import UTC, datetime, timedelta

from oktawatch.systemlog.budget import RateBudget

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class VirtualTime:
    """The clock of a simulated org and its client."""

    def __init__(self) -> None:
        """Start at a fixed time."""
        self.now = START
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        """Return the org's time."""
        return self.now

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self.now - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Advance the time, and yield to other tasks."""
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += timedelta(seconds=seconds)

    def budget(self, share: float = 1.0, *, jitter: float = 0.0) -> RateBudget:
        """Return an org's rate budget that uses this time."""
        return RateBudget(share, clock=self.monotonic, sleep=self.sleep, jitter=lambda: jitter)
