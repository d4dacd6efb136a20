"""Requests that get no answer until a test lets them go, or the client gives up."""

import asyncio


class Hangs:
    """The requests that hang at this moment."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._more = asyncio.Event()

    def __len__(self) -> int:
        """Return how many hang."""
        return len(self._waiting)

    async def hang(self) -> None:
        """Wait to be released; a client that goes away cancels it."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._more.set()
        try:
            await waiting
        finally:
            self._waiting.remove(waiting)

    async def reached(self, count: int = 1) -> None:
        """Wait, in the loop that serves the org, until so many requests hang."""
        while len(self) < count:
            self._more.clear()
            await self._more.wait()

    def release(self) -> None:
        """Let everything go that hangs now. Callable from any thread."""
        for waiting in list(self._waiting):
            waiting.get_loop().call_soon_threadsafe(_let_go, waiting)


def _let_go(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
