"""Wait for other tasks and threads."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Raise TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the condition sets no event
            await asyncio.sleep(0.005)
