"""Requests that hang until a test releases them or the client disconnects."""

import asyncio


class HangingRequests:
    """The requests that hang now."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._added = asyncio.Event()

    def __len__(self) -> int:
        """Return the number of hanging requests."""
        return len(self._waiting)

    async def hang(self) -> None:
        """Wait until `release`. A client that disconnects cancels the wait."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._added.set()
        try:
            await waiting
        finally:
            self._waiting.remove(waiting)

    async def reached(self, count: int = 1) -> None:
        """Wait until `count` requests hang. Call it in the loop that serves the org."""
        while len(self) < count:
            self._added.clear()
            await self._added.wait()

    def release(self) -> None:
        """Release every hanging request. Thread-safe."""
        for waiting in list(self._waiting):
            waiting.get_loop().call_soon_threadsafe(_resolve, waiting)


def _resolve(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
