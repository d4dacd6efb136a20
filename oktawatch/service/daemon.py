"""The daemon: start, run the jobs until asked to stop, and reload on SIGHUP.

The start checks everything that it can before it changes anything: rules, credentials, the database's URL, and
whether another daemon uses the SQLite file. READY is sent after the schema is upgraded and the jobs are scheduled.

SIGHUP builds a second `Application` from the current configuration and rules. If that succeeds, the jobs are stopped
and scheduled again for the new application, by the same steps as a stop and a start. Otherwise everything
continues unchanged.

A stop cancels running requests and transactions that wait for a lock. A transaction that has its lock is finished.
Pages that were not committed are read again, so a quick stop loses nothing.
"""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from oktawatch import __version__, logs
from oktawatch.engine import channel_calls
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.process_files import process_path
from oktawatch.service import endpoint
from oktawatch.service.alarm_file import AlarmFile
from oktawatch.service.app import Application
from oktawatch.service.connections import connections
from oktawatch.service.database import locked_database, prepare_to_watch
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.database_watch import DatabaseWatch
from oktawatch.service.delivery import open_notifiers
from oktawatch.service.endpoint import Endpoint
from oktawatch.service.jobs import Jobs
from oktawatch.service.presence import Presence
from oktawatch.service.reload import reload
from oktawatch.service.signals import Signals, listening
from oktawatch.service.silence import check_interval
from oktawatch.service.systemd import Systemd
from oktawatch.service.vitals import Vitals
from oktawatch.service.watching import watch_orgs
from oktawatch.store.errors import DamagedDatabaseError

_log: Any = structlog.get_logger(__name__)

_REPORT_INTERVAL = timedelta(seconds=10)  # at most, between reports to systemd about a long start
_MORE_TIME = timedelta(seconds=60)
"""The extension that each report requests, so that a start fails only if the event loop hangs for this long."""


async def run_daemon(app: Application, path: Path | None, *, debug: bool) -> int:
    """Watch all orgs until SIGTERM or SIGINT; return the exit code 0.

    On SIGHUP, the configuration is read again from ``path``: the value of --config, or None. With ``debug``, the log
    level stays debug after a reload. Failures of an org or of the database are logged and retried.
    Raises ConfigError if the daemon can't start as configured or a person must repair the database, and StoreError if
    the database's file was deleted or replaced.
    """
    try:
        with locked_database(app) as database, listening() as signals:
            _log.info("daemon_starting", version=__version__, orgs=len(app.orgs))
            daemon = _Daemon(app, database, signals, path, debug=debug)
            try:
                await daemon.run(app)
            finally:
                await daemon.close()
            if daemon.trouble.fatal is not None:
                raise daemon.trouble.fatal
    except DamagedDatabaseError as error:
        raise app.database_error("unusable database", str(error)) from error
    _log.info("daemon_stopped")
    return 0


class _Daemon:
    """The parts that outlive a reload: the database and its watch, signals, systemd."""

    def __init__(
        self,
        app: Application,
        database: DatabaseExecutor,
        signals: Signals,
        path: Path | None,
        *,
        debug: bool,
    ) -> None:
        self.trouble = DatabaseTrouble(lost=signals.lost.set)
        self._database = database
        self._presence = Presence(app.instance, database.now)
        self._alarm_file = AlarmFile(process_path(database.database, "alarm"))
        self._database_watch = DatabaseWatch(
            database,
            self.trouble,
            app.channels,
            alarm_file=self._alarm_file,
            write=self._presence.write,
            after=app.silence_after,
        )
        self._vitals = Vitals(database, self.trouble)
        self._endpoint = Endpoint(self._vitals)
        self._signals = signals
        self._path = path
        self._debug = debug
        self._systemd = Systemd.from_environment()

    async def run(self, app: Application) -> None:
        """Start, and watch all orgs until asked to stop."""
        await self._endpoint.listen(app.listen)
        current = app if await self._prepare(app) else None
        event = "daemon_started"
        while current is not None:
            await self._endpoint.listen(current.listen)
            current = await self._watch(current, event=event)
            event = "daemon_reloaded"
            if current is not None:
                logs.configure(current.log_format, "debug" if self._debug else current.log_level)

    async def close(self) -> None:
        """Stop serving metrics, and unlock the alarm file."""
        await self._endpoint.close()
        await self._vitals.close()
        self._alarm_file.close()

    async def _prepare(self, app: Application) -> bool:
        """Prepare the database, however long that takes. Return False if the daemon was stopped meanwhile."""
        starting = asyncio.create_task(self._database.until_cancelled(self._start(app)))
        return await self._signals.finish_unless_stopped(starting)

    async def _watch(self, app: Application, *, event: str) -> Application | None:
        """Log ``event`` and run the jobs of an application. Return the reloaded application, or None to stop."""
        database, database_watch = self._database, self._database_watch
        database_watch.configure(app.channels, after=app.silence_after)
        async with (
            open_notifiers(app, database, attempted=self._vitals.counters.delivered) as notifiers,
            connections(app.tls_context) as connect,
            watch_orgs(app, database) as watches,
        ):
            jobs = Jobs(
                app,
                database,
                database_watch,
                self._systemd,
                connect,
                notifiers,
                watches,
                presence=self._presence,
                counters=self._vitals.counters,
            )
            jobs.schedule.every(endpoint.INTERVAL, "endpoint", self._endpoint.round)
            self._vitals.watch(app, jobs)
            jobs.schedule.start()
            self._systemd.ready()
            _log.info(event, rules=[rule.id for rule in app.rules.rules], interval=app.poll_interval)
            try:
                return await self._wait_for_reload(app)
            finally:
                if self._signals.stop.is_set():
                    self._systemd.stopping()
                    _log.info("daemon_stopping")
                    await self._presence.end(database)
                await jobs.stop()
                if self.trouble.fatal is not None:
                    await database_watch.send_last_alarm()

    async def _start(self, app: Application) -> None:
        reporting = asyncio.create_task(self._report_start(app))
        prepared = False
        try:
            await self._database_watch.bring_up(partial(prepare_to_watch, app, self._database))
            prepared = True
        finally:
            reporting.cancel()
            await asyncio.wait([reporting])
            if self.trouble.fatal is not None:
                await self._database_watch.send_last_alarm()
            if not prepared:
                for name, channel in app.channels.items():
                    await channel_calls.close(channel, notifier=name)

    async def _report_start(self, app: Application) -> None:
        """Ask systemd for more time as long as the event loop runs, and send alarms about lasting failures."""
        while True:
            await asyncio.sleep(min(_REPORT_INTERVAL, check_interval(app.silence_after)).total_seconds())
            self._systemd.extend_timeout(_MORE_TIME)
            self._systemd.status("starting: " + (self.trouble.error or "bringing the database up"))
            await self._database_watch.send_alarms()

    async def _wait_for_reload(self, app: Application) -> Application | None:
        """Wait while the jobs run. Return the reloaded application, or None to stop."""
        while True:
            await self._signals.wait()
            if self._signals.stop.is_set() or self._signals.lost.is_set():
                return None
            self._signals.reload.clear()
            reloading = asyncio.create_task(
                self._database.until_cancelled(reload(app, self._path, self._database))
            )
            if not await self._signals.finish_unless_stopped(reloading):
                return None
            if (new := reloading.result()) is not app:
                return new
