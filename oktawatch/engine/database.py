"""Database work off the event loop, in threads of its own.

`asyncio.to_thread` has a few threads for everything in the process, which writers that wait for a lock
would use up. There are as many threads as connections are worth having: one on SQLite, since it has one
writer anyway.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from oktawatch.model.timestamps import utc_now
from oktawatch.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseExecutor:
    """Runs functions of the store against one database."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._stopping = threading.Event()
        self.database = Database(url, create=create, stopping=self._stopping)
        self._threads = ThreadPoolExecutor(
            max_workers=self.database.connections, thread_name_prefix="oktawatch-database"
        )
        self._clock: tuple[datetime, float] | None = None
        """The server's time, and when it was read by the monotonic clock."""

    def now(self) -> datetime:
        """Return the time by the clock that all users of the database share.

        On Postgres it is the server's clock as `read_clock` read it, advanced by the monotonic clock: replicas
        whose own clocks differ agree on what is due. On SQLite it is this machine's clock.
        """
        if self._clock is None:
            return utc_now()
        moment, read_at = self._clock
        return moment + timedelta(seconds=time.monotonic() - read_at)

    async def read_clock(self) -> None:
        """Read the server's clock, where there is a server. Raises StoreError."""
        if self.database.shared:
            self._clock = (await self.run(Database.now), time.monotonic())

    async def run(
        self, function: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(database, …)`` in one of the database's threads.

        When the caller is cancelled meanwhile, work that has begun is finished before the
        cancellation goes on: a transaction is never left behind.
        """
        call: Callable[[], T] = partial(function, self.database, *args, **kwargs)
        begun: Future[T] = self._threads.submit(call)
        work = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Asked of the thread's own future: asyncio's would call work cancelled that goes on.
            if not begun.cancel():
                await asyncio.wait([work])
            raise

    async def until_cancelled(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that uses this database; cancelled, stop it for good, so that the work ends at once.

        Without it a cancelled transaction that waits for another program's lock would go on waiting.
        """
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop()
            task.cancel()
            await asyncio.wait([task])
            raise

    def stop(self) -> None:
        """Make transactions that wait for the database's lock give up."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for work that has begun and close the database."""
        self._stopping.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.database.close()
