"""The signals that stop or reload the daemon, as events."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oktawatch.engine.tasks import abandon


class Signals:
    """Requests of a person or the service manager to the daemon."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self.lost = asyncio.Event()
        """Set when the daemon can't continue with its database. Not a signal of the operating system."""

    async def wait(self) -> None:
        """Wait for any of the events."""
        waiting = [asyncio.create_task(event.wait()) for event in (self.stop, self.reload, self.lost)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def finish_unless_stopped(self, task: "asyncio.Task[Any]") -> bool:
        """Wait for a task, but cancel it when the daemon is asked to stop. Return whether the task ended before that.

        So a stop does not wait for a lock that another program holds. Raises the exception of a task that ended.
        """
        stop = asyncio.create_task(self.stop.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self.stop.is_set():
            await abandon(task)
            return False
        await task
        return True


@contextmanager
def listening() -> Iterator[Signals]:
    """Turn signals into events while the block runs."""
    signals = Signals()
    events = {
        signal.SIGTERM: signals.stop,
        signal.SIGINT: signals.stop,
        signal.SIGHUP: signals.reload,
    }
    loop = asyncio.get_running_loop()
    for number, event in events.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield signals
    finally:
        for number in events:
            loop.remove_signal_handler(number)
