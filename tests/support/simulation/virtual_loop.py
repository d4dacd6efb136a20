"""Run a process in virtual time: its event loop, clocks and database thread.

Nothing sleeps. If no task is ready, the loop advances the monotonic clock to its next timer. The wall
clock follows, until a test sets it to something else.
"""

import asyncio
import importlib
import pkgutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from selectors import SelectorKey
from typing import Any
from unittest import mock

import time_machine

from oktawatch import engine, notify, service, store, systemlog
from oktawatch.store.errors import StoppedError
from tests.support.databases import NOW


class VirtualClocks:
    """The true time, and the machine's wall clock, which can be wrong."""

    def __init__(self) -> None:
        self.passed_s = 1_000.0
        self.offset = timedelta()
        """The error of the wall clock."""
        self._traveller: Any = None

    @property
    def true(self) -> datetime:
        """The true time. Okta's clock shows it."""
        return NOW + timedelta(seconds=self.passed_s - 1_000)

    @property
    def wall(self) -> datetime:
        """The time of the machine's wall clock."""
        return self.true + self.offset

    def monotonic(self) -> float:
        """Return the monotonic clock's time."""
        return self.passed_s

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self.passed_s += seconds
        self._traveller.move_to(self.wall)

    def set_wall(self, offset: timedelta) -> None:
        """Set the wall clock to the true time plus ``offset``."""
        self.offset = offset
        self._traveller.move_to(self.wall)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace all clocks of this process, including those in default arguments."""
        real = time.monotonic
        with ExitStack() as stack:
            for defaults in list(_keyword_defaults()):
                names = [name for name, value in defaults.items() if value is real]
                stack.enter_context(mock.patch.dict(defaults, dict.fromkeys(names, self.monotonic)))
            stack.enter_context(mock.patch.object(time, "monotonic", self.monotonic))
            self._traveller = stack.enter_context(time_machine.travel(self.wall, tick=False))
            yield


def _keyword_defaults() -> Iterator[dict[str, Any]]:
    """Yield the keyword defaults of all constructors of the program.

    Import all modules first. A module imported later would keep this test's clocks after the test.
    """
    for package in (engine, notify, service, store, systemlog):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(found.name)).values():
                defaults = getattr(getattr(value, "__init__", None), "__kwdefaults__", None)
                if isinstance(value, type) and defaults:
                    yield defaults


class _NoFiles:
    """A selector without files. Instead of waiting, it advances the clock."""

    def __init__(self, clocks: VirtualClocks) -> None:
        self._clocks = clocks

    def select(self, timeout: float | None = None) -> list[Any]:
        """Advance the time to the next timer."""
        if timeout is None:
            raise RuntimeError("the loop would wait forever: no task is ready and no timer is set")
        if timeout > 0:
            self._clocks.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Accept the loop's own pipe."""
        return SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Accept the loop's own pipe."""
        return SelectorKey(fileobj, 0, 0, None)

    def get_key(self, fileobj: Any) -> SelectorKey:
        """Raise KeyError: there are no files."""
        raise KeyError(fileobj)

    def get_map(self) -> dict[Any, Any]:
        """Do nothing: there are no files."""
        return {}

    def close(self) -> None:
        """Do nothing: there are no files."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self, clocks: VirtualClocks) -> None:
        super().__init__(_NoFiles(clocks))  # type: ignore[arg-type]  # it has all methods that a loop calls
        self._clocks = clocks

    def time(self) -> float:
        """Return the monotonic clock's time."""
        return self._clocks.passed_s

    def _write_to_self(self) -> None:
        """Do nothing: there is only one thread."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]  # generic in its types
        """Run the function at once, in this thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 -- the caller handles it
            future.set_exception(error)
        return future

    def deliver(self, number: int) -> None:
        """Deliver a signal to the process."""
        self._handle_signal(number)  # type: ignore[attr-defined]  # of asyncio's Unix loop, not in its types


class LockedError(Exception):
    """Another program holds the lock of the database."""


class VirtualThread:
    """Replaces the thread pool of an SQLite database. It runs one call at a time, and calls can take virtual time.

    When ``stopping`` is set, a call that waits for the database's lock fails. ``slow_s`` returns the current duration of
    a call. ``ended`` is called before and after each call, and returns True to end the process at this point.
    """

    PATIENCE_S = 30.0
    _SLICE_S = 0.25

    def __init__(
        self,
        *,
        stopping: threading.Event,
        slow_s: Callable[[], float],
        ended: Callable[[], bool],
    ) -> None:
        self._stopping = stopping
        self._slow_s = slow_s
        self._ended = ended
        self._dead = False
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self.work: asyncio.Task[None] | None = None
        self.last_try = False
        """Whether a call fails if it can't get the lock at once."""

    def submit(self, call: Callable[[], Any]) -> "Future[Any]":
        """Queue a call."""
        future: Future[Any] = Future()
        if self._dead:
            future.set_exception(StoppedError("the process is dead"))
            return future
        self._queue.append((future, call))
        if self.work is None or self.work.done():
            self.work = asyncio.get_running_loop().create_task(self._run())
        return future

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Discard the calls that have not started."""
        self.die()

    def die(self) -> None:
        """Refuse all further calls."""
        self._dead = True

    async def _run(self) -> None:
        while self._queue:
            future, call = self._queue.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = await self._call(call)
            except Exception as error:  # noqa: BLE001 -- the caller handles it
                future.set_exception(error)
            else:
                future.set_result(result)

    async def _call(self, call: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        if delay := self._slow_s():
            await asyncio.sleep(delay)
        give_up = loop.time() + self.PATIENCE_S
        while True:
            if self._dead or self._ended():
                self._dead = True
                raise StoppedError("the process is dead")
            self.last_try = loop.time() >= give_up
            try:
                result = call()
            except LockedError:
                if self._stopping.is_set():
                    raise StoppedError("stopping: the transaction had not begun") from None
                await asyncio.sleep(self._SLICE_S)
                continue
            if self._ended():
                self._dead = True
                raise StoppedError("the process is dead")
            return result
