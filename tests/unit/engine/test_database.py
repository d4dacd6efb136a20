"""Database work runs in its own thread. After a cancellation, work that has begun is finished, and other work is dropped."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.store.database import Database
from oktawatch.store.errors import StoppedError


class Work:
    """Work that reports its start and ends when the test releases it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.finished = False

    def __call__(self, _database: Database) -> None:
        """Begin, wait, end."""
        self.begun.set()
        assert self.release.wait(10)
        self.finished = True


async def test_a_cancelled_caller_waits_for_work_in_progress() -> None:
    """A cancelled caller waits for work that has begun, so that no transaction is left open."""
    executor, work = DatabaseExecutor("sqlite://"), Work()
    caller = asyncio.create_task(executor.run(work))
    await asyncio.to_thread(work.begun.wait, 10)

    caller.cancel()
    done, _ = await asyncio.wait([caller], timeout=0.05)
    assert not done
    work.release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert work.finished
    executor.close()


async def test_an_error_of_a_cancelled_caller_is_not_logged() -> None:
    """The error of work whose caller was cancelled is not reported by asyncio."""
    executor, work, reported = DatabaseExecutor("sqlite://"), Work(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    def fail(database: Database) -> None:
        work(database)
        raise StoppedError("stopping")

    caller = asyncio.create_task(executor.run(fail))
    await asyncio.to_thread(work.begun.wait, 10)
    caller.cancel()
    work.release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gc.collect()
    await asyncio.sleep(0)

    assert reported == []
    executor.close()


async def test_a_cancelled_caller_drops_queued_work() -> None:
    """A cancelled caller returns at once, and its queued work never begins."""
    executor, first, second = DatabaseExecutor("sqlite://"), Work(), Work()
    running = asyncio.create_task(executor.run(first))
    await asyncio.to_thread(first.begun.wait, 10)
    waiting = asyncio.create_task(executor.run(second))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.release.set()
    await running
    executor.close()

    assert not second.begun.is_set()
