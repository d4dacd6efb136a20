"""Discard the results of tasks. Otherwise, asyncio would log an exception that is never retrieved."""

import asyncio
from typing import Any


async def discard(future: "asyncio.Future[Any]") -> None:
    """Wait until a future is done, and discard its result."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([future])


async def abandon(task: "asyncio.Future[Any]") -> None:
    """Cancel a task, wait until it has ended, and discard its result."""
    task.cancel()
    await discard(task)
