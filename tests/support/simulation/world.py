"""Run the daemon in virtual time, with a simulated Okta, a database file, receivers and wrong clocks.

The real `run_daemon` runs. Test doubles replace five of its parts: the clocks with the event loop, the database's thread,
the client for Okta, the channels, and the log, which only counts lines.
"""

import asyncio
import logging
import random
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
from sqlalchemy import event

from oktawatch import config, logs
from oktawatch.config.errors import ConfigError
from oktawatch.config.notifiers import NotifierSettings
from oktawatch.config.settings import Settings
from oktawatch.engine.backfill import Backfiller
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.service import app, daemon, jobs, schedule
from oktawatch.service import database as service_database
from oktawatch.service.app import Application
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.systemlog import client, transport
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.priority import PagesAt, Priority
from tests.support.databases import create_schema
from tests.support.simulation.okta import URL, OktaModel
from tests.support.simulation.okta_client import Client
from tests.support.simulation.receiver import Receiver
from tests.support.simulation.storage import Storage
from tests.support.simulation.virtual_loop import VirtualClocks, VirtualLoop, VirtualThread

ORG = "acme"
AFTER = timedelta(minutes=5)
"""`silence.after`."""
RECEIVERS = ("soc", "pager")
STOP_WITHIN_S = 5.0
_RESTART_S = 5.0
_DELIVERY_INTERVAL = timedelta(seconds=20)
_CLOCK_CHECK_S = 4.0
"""Both intervals are longer than the daemon's, so that a test runs three times as fast."""
_CONFIGURATION = f"""
[poll]
interval = "30s"
page_size = 10
initial_lookback = "1h"
sweep_interval = "5m"
sweep_window = "15m"
[service]
listen = ""
[silence]
after = "{AFTER // timedelta(minutes=1)}m"
[[orgs]]
name = "{ORG}"
url = "{URL}"
token = "00invented"
""" + "".join(
    f'[[notifiers]]\nname = "{name}"\ntype = "log"\nmin_severity = "INFO"\nmax_per_minute = 30\n'
    for name in RECEIVERS
)


class World:
    """A daemon, its restarts and its environment."""

    def __init__(self, seed: int, folder: Path, template: Path) -> None:
        self.rng = random.Random(seed)
        self.clocks = VirtualClocks()
        self.covered: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        """The number of log lines for each log event."""
        self.okta = OktaModel(seed, lambda: self.clocks.true)
        self.receivers = {
            name: Receiver(lambda: self.clocks.true, self.rng, covered=self.covered) for name in RECEIVERS
        }
        file = folder / "oktawatch.db"
        shutil.copy(template, file)
        self.storage = Storage(file)
        self._settings = _settings(folder)
        self._stack = ExitStack()
        self._loop: VirtualLoop
        self._daemon: asyncio.Task[int] | None = None
        self._kill_in: int | None = None
        self.started_at = self.clocks.true
        self.ended_with_error: list[BaseException] = []

    def open(self) -> None:
        """Install the test doubles, and start the daemon."""
        enter = self._stack.enter_context
        enter(self.clocks.installed())
        enter(_counting_log(self.lines))
        enter(mock.patch.object(jobs, "INTERVAL", _DELIVERY_INTERVAL))
        enter(mock.patch.object(schedule, "_CLOCK_CHECK_S", _CLOCK_CHECK_S))
        logging.disable(logging.CRITICAL)
        self._stack.callback(logging.disable, logging.NOTSET)
        enter(mock.patch.object(service_database, "open_database", self._open_database))
        enter(mock.patch.object(client, "LogClient", mock.Mock(return_value=Client(self.okta))))
        enter(mock.patch.object(transport, "open_session", _no_session))
        enter(mock.patch.object(app, "build_channel", self._build_channel))
        self._loop = VirtualLoop(self.clocks)
        self._loop.set_exception_handler(lambda *_: None)  # ignore errors in the tasks of killed processes
        self._stack.callback(self._loop.close)
        self.start()

    def close(self) -> None:
        """Kill the daemon, and remove the test doubles."""
        try:
            self.kill()
        finally:
            self._stack.close()

    def advance(self, time: timedelta) -> None:
        """Advance the time. If the daemon exits, restart it like a service manager."""
        end = self.clocks.passed_s + time.total_seconds()
        while (left := end - self.clocks.passed_s) > 0:
            if self._daemon is None:
                self.start()
            assert self._daemon is not None
            self._run(asyncio.wait([self._daemon], timeout=left))
            if self._daemon.done():
                self._record_end()
                self._run(asyncio.sleep(min(_RESTART_S, max(end - self.clocks.passed_s, 0))))

    def start(self) -> None:
        """Start the daemon."""
        self.started_at = self.clocks.true
        self._kill_in = None
        self._daemon = self._loop.create_task(
            daemon.run_daemon(Application.build(self._settings), self._settings.source, debug=False)
        )

    def kill(self, calls: int | None = None) -> None:
        """Kill the daemon if it runs: now, or before or after a database call, when ``calls`` other such moments have passed."""
        if calls is not None:
            self._kill_in = calls
        elif self._daemon is not None:
            self._die()
            self._record_end(killed=True)

    def stop(self) -> float:
        """Stop the daemon like a service manager. Return the duration in seconds."""
        if self._daemon is None:
            return 0.0
        self._run(asyncio.sleep(0.001))  # until the signal handlers are installed
        begun = self.clocks.passed_s
        self._loop.deliver(signal.SIGTERM)
        self._run(asyncio.wait([self._daemon], timeout=600))
        took = self.clocks.passed_s - begun
        assert self._daemon.done(), "SIGTERM was not answered"
        self._record_end()
        return took

    def reload(self) -> None:
        """Send SIGHUP, so that the daemon reloads its configuration."""
        if self._daemon is not None:
            self._loop.deliver(signal.SIGHUP)

    def backfill(self, *, since: datetime, until: datetime, notify: bool) -> bool:
        """Run a backfill beside the daemon. Return whether it succeeded."""
        succeeded: bool = self._run(self._backfill(since, until, notify=notify))
        return succeeded

    async def _backfill(self, since: datetime, until: datetime, *, notify: bool) -> bool:
        database = self._executor(daemon=False)
        application = Application(self._settings)
        watch = Watch(org=ORG, rules=application.rules, routes=application.routes)
        source = PagesAt(Client(self.okta), Priority.BACKFILL)
        backfiller = Backfiller(source, database, watch, page_size=25)
        try:
            async with asyncio.timeout(300):
                await backfiller.run(command=f"{since} {until}", since=since, until=until, notify=notify)
        except (SystemLogError, StoreError, TimeoutError) as error:
            self.covered[f"backfill {type(error).__name__}"] += 1
            return False
        finally:
            database.close()
        return True

    def _run(self, awaitable: Any) -> Any:
        return self._loop.run_until_complete(awaitable)

    def _record_end(self, *, killed: bool = False) -> None:
        """Record how the daemon ended. If it was killed, cancel its remaining tasks."""
        task, self._daemon = self._daemon, None
        assert task is not None
        if killed or (self._kill_in is not None and self._kill_in < 0):
            if tasks := asyncio.all_tasks(self._loop):
                for remaining in sorted(tasks, key=asyncio.Task.get_name):
                    if self.storage.thread is None or remaining is not self.storage.thread.work:
                        remaining.cancel()
                self._run(asyncio.wait(tasks))
            if not task.cancelled():
                task.exception()
        elif (error := task.exception()) is not None:
            assert isinstance(error, ConfigError | StoreError), error
            self.ended_with_error.append(error)
            self.covered[f"ended with {type(error).__name__}"] += 1

    def _killed_here(self) -> bool:
        """Count a point before or after a database call. Return whether the process is killed here."""
        if self._kill_in is None:
            return False
        self._kill_in -= 1
        if self._kill_in >= 0:
            return False
        self._die()
        return True

    def _die(self) -> None:
        """Disconnect the daemon from the database and the receivers, and cancel it."""
        if self.storage.thread is not None:
            self.storage.thread.die()
        for receiver in self.receivers.values():
            receiver.kills += 1
        if self._daemon is not None:
            self._daemon.cancel()

    def _open_database(self, _app: Application) -> DatabaseExecutor:
        return self._executor(daemon=True)

    def _build_channel(self, _type: str, notifier: NotifierSettings, _way: Any) -> Receiver:
        return self.receivers[notifier.name]

    def _executor(self, *, daemon: bool) -> DatabaseExecutor:
        executor = DatabaseExecutor(f"sqlite:///{self.storage.file}")
        thread = VirtualThread(
            stopping=executor._stopping,
            slow_s=self.storage.slow_s,
            ended=self._killed_here if daemon else lambda: False,
        )
        executor._threads.shutdown()
        executor._threads = thread  # type: ignore[assignment]  # it has all methods that the executor uses
        if daemon:
            self.storage.thread = thread

        def before_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            self.storage.before_statement(statement, thread)

        event.listen(executor.database._engine, "before_cursor_execute", before_statement)
        return executor


def make_template(file: Path) -> None:
    """Create the database that each test copies."""
    database = Database(f"sqlite:///{file}", create=True)
    create_schema(database)
    database.close()


def _settings(folder: Path) -> Settings:
    file = folder / "oktawatch.toml"
    file.write_text(_CONFIGURATION, "utf-8")
    return config.load(file, environ={})


@asynccontextmanager
async def _no_session(*_arguments: Any, **_keywords: Any) -> AsyncIterator[None]:
    yield None


@contextmanager
def _counting_log(lines: Counter[str]) -> Iterator[None]:
    """Count log lines instead of writing them."""

    def count(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        lines[line["event"]] += 1
        if (
            line["event"] in {"job_failed", "channel_failed", "message_failed"}
            or line.get("reason") == "unexpected"
        ):
            lines[f"{line['event']}: {line.get('exc_info')!r}"] += 1
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [count]
    try:
        with mock.patch.object(logs, "configure"):  # called by a reload
            yield
    finally:
        processors[:] = before
