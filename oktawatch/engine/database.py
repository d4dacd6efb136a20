"""Run database work in threads, off the event loop.

The threads of `asyncio.to_thread` are shared by the whole process, and writers that wait for a lock could block all
of them. So the database has its own threads, one for each connection. SQLite has a single connection, because it
allows only one writer.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from oktawatch.engine.tasks import abandon, discard
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
        """The server's time when it was last read, and the monotonic clock's time at that moment."""

    def now(self) -> datetime:
        """Return the time of the clock that all users of the database share.

        On Postgres, this is the server's time as last read by `read_clock`, advanced by the monotonic clock. So
        replicas agree even if their own clocks differ. On SQLite, and before `read_clock`, it is this machine's time.
        """
        if self._clock is None:
            return utc_now()
        moment, read_at = self._clock
        return moment + timedelta(seconds=time.monotonic() - read_at)

    async def read_clock(self) -> None:
        """Read the server's clock for `now`. Does nothing on SQLite. Raises StoreError."""
        if self.database.shared:
            self._clock = (await self.run(Database.now), time.monotonic())

    async def run(
        self, function: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(database, …)`` in one of the database's threads.

        If the caller is cancelled, work that has begun is finished before the cancellation continues, so that no
        transaction is left open.
        """
        call: Callable[[], T] = partial(function, self.database, *args, **kwargs)
        submitted: Future[T] = self._threads.submit(call)
        work = asyncio.wrap_future(submitted)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Cancel the thread's own future. asyncio's future would report running work as cancelled.
            if not submitted.cancel():
                await discard(work)
            raise

    async def until_cancelled(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that uses this database. If cancelled, stop the database, so that the work ends at once.

        Otherwise a transaction that waits for another program's lock would continue to wait.
        """
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop()
            await abandon(task)
            raise

    def stop(self) -> None:
        """Abort all transactions that wait for a lock, now or later."""
        self._stopping.set()

    def close(self) -> None:
        """Cancel work that has not begun, wait for running work, and close the database."""
        self._stopping.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.database.close()
