"""The daemon: a poll and a sweep job an org, a delivery job a notifier, one that prunes, one for the watchdog.

Starting checks everything that can be checked before it touches anything: rules, tokens, the database's
URL, whether another daemon runs on it. READY comes after the schema is up and the jobs are scheduled.

SIGHUP reads configuration and rules anew. If they are good everything is scheduled anew, by the same steps as
at a stop and a start but in one process, so that no systemd unit sees it fail; if not, all goes on as it was.

Stopping cancels requests in flight, which ends them at once, and makes transactions that wait for the
database's lock give up: they have not begun. One that has begun is finished. What was read and not
committed is read again, so nothing is lost by being quick.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from oktawatch import __version__
from oktawatch.config import Settings
from oktawatch.detection.registry import RuleSet
from oktawatch.engine.assembly import (
    make_heartbeat,
    make_orphaned_notifications,
    make_pruner,
    make_silence_watch,
    make_watch,
    open_database,
    open_notifiers,
)
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.engine.rule_watchdog import RuleWatchdog
from oktawatch.engine.sweep import Sweeper
from oktawatch.service.credential_refresh import Connect, OrgSource
from oktawatch.service.database_watch import Channels, DatabaseTrouble, DatabaseWatch
from oktawatch.service.delivery import INTERVAL, Delivery, Sender
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.file_lock import exclusive_lock
from oktawatch.service.heartbeat import Heartbeat
from oktawatch.service.polling import OrgPolling
from oktawatch.service.pruning import FIRST, Pruning
from oktawatch.service.pruning import INTERVAL as PRUNING_INTERVAL
from oktawatch.service.reload import Load, Plan, reload_plan
from oktawatch.service.replica import Replica
from oktawatch.service.rule_watch import watching_rules
from oktawatch.service.schedule import Schedule
from oktawatch.service.silence import SilenceChecks, interval
from oktawatch.service.sweeping import OrgSweeping
from oktawatch.service.systemd import Systemd
from oktawatch.service.watchdog import Watchdog
from oktawatch.store.errors import DamagedDatabaseError, UnusableDatabaseError
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.priority import Priority

_log: Any = structlog.get_logger(__name__)

_APART = timedelta(milliseconds=150)
"""From one org's first poll to the next one's, so that the pages of 200 don't all come at once."""
_PATIENCE = timedelta(seconds=4)
"""How long stopping waits for jobs; the whole of it is to end within 5 s."""
_REPORT_EVERY = timedelta(seconds=10)
_MORE_TIME = timedelta(seconds=60)
"""What a start that goes on asks systemd for, again and again: longer than a loaded machine may keep the loop waiting."""
_NAMED = 5  # orgs in a line of status


class _Signals:
    """What a person or the service manager asks of the daemon."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self.lost = asyncio.Event()
        """Nobody asks for this: the daemon can't go on with its database."""

    async def wait(self) -> None:
        """Wait for any of them."""
        waiting = [asyncio.create_task(event.wait()) for event in (self.stop, self.reload, self.lost)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


async def run_daemon(settings: Settings, load: Load, begin_logging: Callable[[Settings], None]) -> int:
    """Watch every org until SIGTERM or SIGINT; give the exit code, which is 0 then.

    ``load`` reads the configuration anew on SIGHUP, and when all of it is accepted ``begin_logging`` is
    called with it. Trouble with an org or with the database is logged and outlived. Raises ConfigError when
    the daemon can't start as configured or a person has to mend the database, and StoreError when its file
    was deleted or replaced.
    """
    plan = Plan.of(settings)
    database = open_database(settings)
    try:
        with exclusive_lock(database), _listening() as signals:
            _log.info("daemon_starting", version=__version__, orgs=len(settings.orgs))
            trouble = DatabaseTrouble(lost=signals.lost.set)
            watch = DatabaseWatch(database, trouble, after=settings.silence.after)
            systemd = Systemd.from_environment()
            starting = asyncio.create_task(database.until_cancelled(_start(plan, database, watch, systemd)))
            if await _unless_stopped(starting, signals):
                await _serve(plan, load, begin_logging, database, watch, systemd, signals)
            if trouble.fatal is not None:
                raise trouble.fatal
    except DamagedDatabaseError as error:
        raise settings.error("unusable database", "database", "url", expected=str(error)) from error
    finally:
        database.close()
    _log.info("daemon_stopped")
    return 0


@contextmanager
def _listening() -> Iterator[_Signals]:
    """Turn signals into events."""
    signals = _Signals()
    numbers = {
        signal.SIGTERM: signals.stop,
        signal.SIGINT: signals.stop,
        signal.SIGHUP: signals.reload,
    }
    loop = asyncio.get_running_loop()
    for number, event in numbers.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield signals
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _unless_stopped(task: "asyncio.Task[Any]", signals: _Signals) -> bool:
    """Wait for some work; tell whether to go on, since stopping can't wait for somebody's lock."""
    stop = asyncio.create_task(signals.stop.wait())
    await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if signals.stop.is_set():
        task.cancel()
        await asyncio.wait([task])
        return False
    await task
    return True


async def _start(plan: Plan, database: DatabaseExecutor, watch: DatabaseWatch, systemd: Systemd) -> None:
    """Bring the database up, however long an upgrade or the database's trouble takes."""
    plan.warn()
    reporting = asyncio.create_task(_report_start(plan, watch, systemd))
    try:
        await watch.bring_up(partial(plan.prepare, database))
    except UnusableDatabaseError:
        await watch.tell_the_end(plan.channels_by_name)
        raise
    finally:
        reporting.cancel()
        await asyncio.wait([reporting])
        if watch.trouble.failures:
            for channel in plan.channels:
                await channel.close()


async def _report_start(plan: Plan, watch: DatabaseWatch, systemd: Systemd) -> None:
    """Ask systemd for more time for as long as the loop turns, and tell the notifiers of trouble that lasts."""
    while True:
        await asyncio.sleep(min(_REPORT_EVERY, interval(watch.after)).total_seconds())
        systemd.extend_timeout(_MORE_TIME)
        systemd.status("starting: " + (watch.trouble.error or "bringing the database up"))
        await watch.tell(plan.channels_by_name)


async def _serve(
    plan: Plan,
    load: Load,
    begin_logging: Callable[[Settings], None],
    database: DatabaseExecutor,
    watch: DatabaseWatch,
    systemd: Systemd,
    signals: _Signals,
) -> None:
    following = await _watch(plan, load, database, watch, systemd, signals, event="daemon_started")
    while following is not None:
        begin_logging(following.settings)
        following = await _watch(following, load, database, watch, systemd, signals, event="daemon_reloaded")


async def _watch(
    plan: Plan,
    load: Load,
    database: DatabaseExecutor,
    watch: DatabaseWatch,
    systemd: Systemd,
    signals: _Signals,
    *,
    event: str,
) -> Plan | None:
    """Watch as planned and log ``event``; return the plan that follows, or None at the end."""
    # Half a second and 65 MB, which a daemon that may not start doesn't pay.
    from oktawatch.systemlog.client import LogClient  # noqa: PLC0415
    from oktawatch.systemlog.transport import open_session  # noqa: PLC0415

    notifying = open_notifiers(plan.settings, plan.rules, database, plan.channels)
    watching = watching_rules(plan.settings, plan.rules, database)
    async with notifying as notifiers, open_session(plan.trust) as session, watching as watchdog:
        connect = partial(LogClient, session=session)
        watchers = _Watchers(
            plan.settings, plan.rules, plan.accesses, database, watch, systemd, connect, notifiers, watchdog
        )
        watchers.watch_database(plan.channels_by_name, after=plan.settings.silence.after)
        watchers.schedule.start()
        systemd.ready()
        _log.info(event, rules=[rule.id for rule in plan.rules.rules], interval=plan.settings.poll.interval)
        try:
            return await _next(plan, load, database, signals)
        finally:
            if signals.stop.is_set():
                systemd.stopping()
                _log.info("daemon_stopping")
                database.stop()
            await watchers.stop()
            if watch.trouble.fatal is not None:
                await watch.tell_the_end(plan.channels_by_name)


async def _next(plan: Plan, load: Load, database: DatabaseExecutor, signals: _Signals) -> Plan | None:
    """Return the next plan, or None at the end. Meanwhile the present one is followed."""
    while True:
        await signals.wait()
        if signals.stop.is_set() or signals.lost.is_set():
            return None
        signals.reload.clear()
        reloading = asyncio.create_task(database.until_cancelled(reload_plan(plan, load, database)))
        if not await _unless_stopped(reloading, signals):
            return None
        if (new := reloading.result()) is not plan:
            return new


class _Watchers:
    """Everything that is scheduled."""

    def __init__(
        self,
        settings: Settings,
        rules: RuleSet,
        accesses: Sequence[OrgAccess],
        database: DatabaseExecutor,
        watch: DatabaseWatch,
        systemd: Systemd,
        connect: Connect,
        notifiers: Sequence[Notifier],
        watchdog: RuleWatchdog | None = None,
    ) -> None:
        self.schedule = Schedule()
        self._systemd = systemd
        self._interval = settings.poll.interval
        orgs = [org.name for org in settings.orgs]
        self._health = Watchdog(orgs)
        self._database_watch = watch
        trouble = watch.trouble
        self._silence_after = settings.silence.after
        self._silence = SilenceChecks(
            make_silence_watch(settings, database).check, database_trouble=trouble, enqueued=self._deliver_now
        )
        beat = make_heartbeat(settings)
        self._heartbeat = Heartbeat(beat) if beat is not None else None
        self._replica = (
            Replica(
                settings.service.instance or socket.gethostname(),
                orgs,
                database,
                lease_ttl=settings.service.lease_ttl,
                database_trouble=trouble,
                gained=lambda org: self.schedule.again(f"poll:{org}"),
            )
            if database.database.shared
            else None
        )
        self._pruning = Pruning(
            partial(make_pruner(settings, rules, database).round, holds=self._holds),
            now=database.now,
            okta_time=lambda: self._okta_time,
            database_trouble=trouble,
        )
        self._okta_time: datetime | None = None
        """Okta's time when a poll last caught up."""
        senders: tuple[Sender, ...] = (*notifiers, make_orphaned_notifications(settings, database))
        self._deliveries = {f"deliver:{one.name}": Delivery(one, database_trouble=trouble) for one in senders}
        self._sweep_interval = settings.poll.sweep_interval
        self._pollers: list[Poller] = []
        self._pollings: list[OrgPolling] = []
        self._sweepings: list[OrgSweeping] = []
        for org, access in zip(settings.orgs, accesses, strict=True):
            source = OrgSource(settings, org, access, connect)
            self._watch(settings, source, database, make_watch(settings, org, rules, watchdog), trouble)
        self._add_jobs()

    def _watch(
        self,
        settings: Settings,
        source: OrgSource,
        database: DatabaseExecutor,
        watch: Watch,
        trouble: FailureLog,
    ) -> None:
        poll = settings.poll
        poller = Poller(
            source, database, watch, page_size=poll.page_size, initial_lookback=poll.initial_lookback
        )
        sweeper = Sweeper(
            source.at(Priority.SWEEP), database, watch, page_size=poll.page_size, window=poll.sweep_window
        )
        self._pollers.append(poller)
        self._pollings.append(
            OrgPolling(
                watch.org,
                poller.round,
                database,
                interval=self._interval,
                database_trouble=trouble,
                enqueued=self._deliver_now,
            )
        )
        self._sweepings.append(
            OrgSweeping(
                watch.org,
                sweeper.round,
                interval=self._sweep_interval,
                caught_up=lambda: poller.caught_up,
                database_trouble=trouble,
                enqueued=self._deliver_now,
            )
        )

    def watch_database(self, channels: Channels, *, after: timedelta) -> None:
        """Schedule what notices that the database can't be written."""
        self._database_watch.after = after
        work = partial(self._database_watch.round, channels)
        self.schedule.every(interval(after), "database", work, exact=True)

    async def stop(self) -> None:
        """Bring every job to its end, and let other replicas go on."""
        await self.schedule.stop(_PATIENCE)
        await self._database_watch.close()
        if self._replica is not None:
            await self._replica.release()

    def _add_jobs(self) -> None:
        if self._replica is not None:
            self.schedule.every(self._replica.interval, "leases", self._replica.round, exact=True)
        apart = min(_APART, self._interval / len(self._pollings))
        for number, polling in enumerate(self._pollings):
            work = partial(self._poll, polling)
            self.schedule.every(self._interval, f"poll:{polling.org}", work, after=apart * number)
        for number, sweeping in enumerate(self._sweepings):
            # Spread over the interval, so that the sweeps of 200 orgs don't all come at once.
            after = self._sweep_interval * number / len(self._sweepings)
            self.schedule.every(
                self._sweep_interval, f"sweep:{sweeping.org}", partial(self._sweep, sweeping), after=after
            )
        for name, delivery in self._deliveries.items():
            self.schedule.every(INTERVAL, name, delivery.round)
        self.schedule.every(interval(self._silence_after), "silence", self._silence.round)
        self.schedule.every(PRUNING_INTERVAL, "pruning", self._pruning.round, after=FIRST)
        if self._heartbeat is not None:
            self.schedule.every(self._interval, "heartbeat", partial(self._beat, self._heartbeat))
        if self._systemd.watchdog is not None:
            self.schedule.every(self._systemd.watchdog / 2, "watchdog", self._feed_watchdog, exact=True)

    def _holds(self, org: str) -> bool:
        """Whether an org is this process's to poll: alone on its database, each of them is."""
        return self._replica is None or self._replica.holds(org)

    async def _sweep(self, sweeping: OrgSweeping) -> timedelta | None:
        return await sweeping.round() if self._holds(sweeping.org) else None

    async def _beat(self, heartbeat: Heartbeat) -> None:
        await heartbeat.round([polling.org for polling in self._pollings if self._holds(polling.org)])

    async def _poll(self, polling: OrgPolling) -> timedelta | None:
        again = None
        if self._holds(polling.org):
            again = await polling.round()
            dates = [poller.caught_up.date for poller in self._pollers if poller.caught_up is not None]
            self._okta_time = max(dates, default=self._okta_time)
            if self._heartbeat is not None and not polling.failing:
                self._heartbeat.polled(polling.org)
        self._health.round_ended(polling.org, next_in=self._interval if again is None else again)
        self._systemd.status(self._summary())
        return again

    async def _feed_watchdog(self) -> None:
        if stuck := self._health.stuck():
            _log.error("polls_stuck", orgs=stuck[:_NAMED], count=len(stuck))
        else:
            self._systemd.alive()

    def _deliver_now(self) -> None:
        for name in self._deliveries:
            self.schedule.again(name)

    def _summary(self) -> str:
        held = [polling for polling in self._pollings if self._holds(polling.org)]
        failing = [polling.org for polling in held if polling.failing]
        orgs = len(held)
        watching = f"watching {orgs} org{'' if orgs == 1 else 's'}"
        if not failing:
            return watching
        named = ", ".join(failing[:_NAMED]) + (", …" if len(failing) > _NAMED else "")
        return f"{watching}, {len(failing)} failing: {named}"
