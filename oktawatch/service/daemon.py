"""The daemon: it starts, runs its jobs until it is asked to stop, and reloads on SIGHUP.

Starting checks everything that can be checked before it touches anything: rules, credentials, the database's
URL, whether another daemon runs on it. READY comes after the schema is up and the jobs are scheduled.

SIGHUP builds a second `Application` from the configuration and rules as they are now. If that succeeds, the
jobs end and are scheduled again from the new one, by the same steps as at a stop and a start but in one
process, so that no systemd unit sees it fail. If not, everything continues as it was.

Stopping cancels requests in flight, which ends them at once, and makes transactions that wait for the
database's lock give up: they have not begun. A transaction that has begun is finished. What was read and not
committed is read again, so a quick stop loses nothing.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from oktawatch import __version__
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service.app import Application
from oktawatch.service.database import locked_database, prepare_to_watch
from oktawatch.service.database_watch import DatabaseTrouble, DatabaseWatch
from oktawatch.service.delivery import open_notifiers
from oktawatch.service.jobs import Jobs
from oktawatch.service.reload import Load, reload, warn_without_effect
from oktawatch.service.signals import Signals, listening
from oktawatch.service.silence import interval
from oktawatch.service.systemd import Systemd
from oktawatch.service.watching import watch_orgs
from oktawatch.store.errors import DamagedDatabaseError, UnusableDatabaseError

_log: Any = structlog.get_logger(__name__)

_REPORT_INTERVAL = timedelta(seconds=10)
_MORE_TIME = timedelta(seconds=60)
"""The time that a start which goes on asks systemd for: longer than a loaded machine may keep the loop waiting."""


async def run_daemon(app: Application, load: Load, begin_logging: Callable[[Application], None]) -> int:
    """Watch every org until SIGTERM or SIGINT; return the exit code, which is 0 then.

    ``load`` reads the configuration again on SIGHUP; if all of it is accepted, ``begin_logging`` is called
    with the new application. Trouble with an org or with the database is logged and survived. Raises
    ConfigError when the daemon can't start as configured or a person has to repair the database, and
    StoreError when its file was deleted or replaced.
    """
    try:
        with locked_database(app) as database, listening() as signals:
            _log.info("daemon_starting", version=__version__, orgs=len(app.orgs))
            daemon = _Daemon(app, database, signals)
            following = app if await daemon.start(app) else None
            event = "daemon_started"
            while following is not None:
                following = await daemon.watch(following, load, event=event)
                event = "daemon_reloaded"
                if following is not None:
                    begin_logging(following)
            if daemon.trouble.fatal is not None:
                raise daemon.trouble.fatal
    except DamagedDatabaseError as error:
        raise app.database_error("unusable database", str(error)) from error
    _log.info("daemon_stopped")
    return 0


class _Daemon:
    """What outlives a reload: the database and its watch, signals, systemd."""

    def __init__(self, app: Application, database: DatabaseExecutor, signals: Signals) -> None:
        self.trouble = DatabaseTrouble(lost=signals.lost.set)
        self._database = database
        self._database_watch = DatabaseWatch(database, self.trouble, app.channels, after=app.silence_after)
        self._signals = signals
        self._systemd = Systemd.from_environment()

    async def start(self, app: Application) -> bool:
        """Bring the database up, however long that takes; return False if the daemon was stopped meanwhile."""
        starting = asyncio.create_task(self._database.until_cancelled(self._start(app)))
        return await self._signals.finish_unless_stopped(starting)

    async def watch(self, app: Application, load: Load, *, event: str) -> Application | None:
        """Run the jobs of an application and log ``event``; return the one that follows, or None at the end."""
        # Importing the Okta SDK takes half a second and 65 MB, which a start that fails needn't cost.
        from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
        from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

        database, database_watch = self._database, self._database_watch
        database_watch.configure(app.channels, after=app.silence_after)
        async with (
            open_notifiers(app, database) as notifiers,
            open_session(app.tls_context) as session,
            watch_orgs(app, database) as watches,
        ):
            connect = partial(LogClient, session=session)
            jobs = Jobs(app, database, database_watch, self._systemd, connect, notifiers, watches)
            jobs.schedule.start()
            self._systemd.ready()
            _log.info(event, rules=[rule.id for rule in app.rules.rules], interval=app.poll_interval)
            try:
                return await self._next(app, load)
            finally:
                if self._signals.stop.is_set():
                    self._systemd.stopping()
                    _log.info("daemon_stopping")
                    database.stop()
                await jobs.stop()
                if self.trouble.fatal is not None:
                    await database_watch.tell_the_end()

    async def _start(self, app: Application) -> None:
        warn_without_effect(app)
        reporting = asyncio.create_task(self._report_start(app))
        try:
            await self._database_watch.bring_up(partial(prepare_to_watch, app, self._database))
        except UnusableDatabaseError:
            await self._database_watch.tell_the_end()
            raise
        finally:
            reporting.cancel()
            await asyncio.wait([reporting])
            if self.trouble.failures:
                for channel in app.channels.values():
                    await channel.close()

    async def _report_start(self, app: Application) -> None:
        """Ask systemd for more time while the loop turns, and tell the notifiers of trouble that lasts."""
        while True:
            await asyncio.sleep(min(_REPORT_INTERVAL, interval(app.silence_after)).total_seconds())
            self._systemd.extend_timeout(_MORE_TIME)
            self._systemd.status("starting: " + (self.trouble.error or "bringing the database up"))
            await self._database_watch.tell()

    async def _next(self, app: Application, load: Load) -> Application | None:
        """Return the application to continue with, or None at the end. Meanwhile the jobs run."""
        while True:
            await self._signals.wait()
            if self._signals.stop.is_set() or self._signals.lost.is_set():
                return None
            self._signals.reload.clear()
            reloading = asyncio.create_task(self._database.until_cancelled(reload(app, load, self._database)))
            if not await self._signals.finish_unless_stopped(reloading):
                return None
            if (new := reloading.result()) is not app:
                return new
