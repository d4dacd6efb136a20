"""The daemon's jobs: a poll and a sweep for each org, a delivery for each notifier, and several single jobs.

The jobs don't know each other. They interact only through this module: a poll that enqueues notifications triggers
the deliveries, a sweep waits until polling has caught up, and only the orgs whose leases this replica holds are polled.
"""

import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.engine.silence import SilenceWatch
from oktawatch.engine.sweep import Sweeper
from oktawatch.service.app import Application
from oktawatch.service.counters import Counters
from oktawatch.service.database_watch import DatabaseWatch
from oktawatch.service.delivery import INTERVAL, Delivery, Sender, orphaned_notifications
from oktawatch.service.evidence import INTERVAL as EVIDENCE_INTERVAL
from oktawatch.service.evidence import EvidenceUpdate
from oktawatch.service.heartbeat import Heartbeat
from oktawatch.service.polling import OrgPolling
from oktawatch.service.presence import Presence
from oktawatch.service.pruning import FIRST, Pruning, build_pruner
from oktawatch.service.pruning import INTERVAL as PRUNING_INTERVAL
from oktawatch.service.replica import Replica
from oktawatch.service.schedule import Schedule
from oktawatch.service.silence import SilenceChecks, check_interval
from oktawatch.service.sweeping import OrgSweeping
from oktawatch.service.systemd import Systemd
from oktawatch.service.watchdog import Watchdog
from oktawatch.store.daemons import Wait, WaitReason
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.credential_refresh import Connect, OrgSource
from oktawatch.systemlog.priority import PagesAt, Priority

_log: Any = structlog.get_logger(__name__)

_STAGGER = timedelta(milliseconds=150)
"""Delay between the first polls of two orgs, so that the pages of 200 orgs don't arrive at once."""
_STOP_WITHIN = timedelta(seconds=3.5)
"""How long a stop waits for the jobs. The whole stop must take less than 5 s."""
_LONG_WAIT_S = 5.0  # a wait at least this long is written to the daemon's row at once
_SOON = timedelta(seconds=1)  # the delay of the next write if the state changed during the last one
_MOST_NAMED = 5  # maximum number of orgs in a line of status or log


class Jobs:
    """The scheduled jobs of one application."""

    def __init__(
        self,
        app: Application,
        database: DatabaseExecutor,
        database_watch: DatabaseWatch,
        systemd: Systemd,
        connect: Connect,
        notifiers: Sequence[Notifier],
        watches: Mapping[str, Watch],
        *,
        presence: Presence,
        counters: Counters,
    ) -> None:
        """Schedule the jobs. ``watches`` maps each org's name to its configuration."""
        self._presence = presence
        presence.waits.clear()  # the waits of the previous configuration
        self._counters = counters
        self._budgets: dict[str, RateBudget] = {}
        self.schedule = Schedule()
        self._app = app
        self._database = database
        self._database_watch = database_watch
        self._trouble = database_watch.trouble
        self._systemd = systemd
        self._watchdog = Watchdog(app.org_tags)
        self._heartbeat = None if app.heartbeat is None else Heartbeat(app.heartbeat)
        self._replica = self._build_replica() if database.database.shared else None
        self._pollers: list[Poller] = []
        self._pollings: list[OrgPolling] = []
        self._sweepings: list[OrgSweeping] = []
        self._okta_time: datetime | None = None
        """Okta's time when a poll last caught up."""
        for org, watch in watches.items():
            self._add_org(org, watch, connect)
        senders: tuple[Sender, ...] = (*notifiers, orphaned_notifications(app, database))
        self._deliveries = {
            f"deliver:{sender.name}": Delivery(sender, database_trouble=self._trouble) for sender in senders
        }
        self._schedule_orgs()
        self._schedule_the_rest()

    def holds(self, org: str) -> bool:
        """Return whether this process polls the org. On SQLite, a process polls all configured orgs."""
        return self._replica is None or self._replica.holds(org)

    def stuck(self) -> list[str]:
        """Return the orgs whose polls don't end, which only a restart can fix."""
        return self._watchdog.stuck()

    def rate_limits_remaining(self) -> dict[str, int]:
        """Return the number of remaining requests that Okta last reported, by org."""
        remaining = {org: budget.remaining for org, budget in self._budgets.items()}
        return {org: count for org, count in remaining.items() if count is not None}

    async def stop(self) -> None:
        """End all jobs, and release the leases for other replicas."""
        await self.schedule.stop(_STOP_WITHIN)
        await self._database_watch.close()
        if self._replica is not None:
            await self._replica.release()

    def _build_replica(self) -> Replica:
        return Replica(
            self._app.instance or socket.gethostname(),
            list(self._app.org_tags),
            self._database,
            lease_ttl=self._app.lease_ttl,
            database_trouble=self._trouble,
            gained=lambda org: self.schedule.again(f"poll:{org}"),
        )

    def _add_org(self, org: str, watch: Watch, connect: Connect) -> None:
        app, database, counters = self._app, self._database, self._counters
        budget = self._budgets[org] = RateBudget(
            app.rate_limit_share, on_wait=partial(self._record_wait, org, WaitReason.RATE_LIMIT)
        )
        source = OrgSource(
            app.accesses[org],
            connect,
            renew=partial(app.access, org, renewed=True),
            budget=budget,
        )
        poller = Poller(
            source,
            database,
            watch,
            page_size=app.page_size,
            initial_lookback=app.initial_lookback,
            committed=partial(counters.polled, org),
        )
        sweeper = Sweeper(
            PagesAt(source, Priority.SWEEP),
            database,
            watch,
            page_size=app.page_size,
            window=app.sweep_window,
            committed=partial(counters.swept, org),
        )
        self._pollers.append(poller)
        self._pollings.append(
            OrgPolling(
                org,
                poller.round,
                database,
                interval=app.poll_interval,
                database_trouble=self._trouble,
                enqueued=self._deliver_now,
                holds=partial(self.holds, org),
                on_failure=partial(counters.poll_failed, org),
            )
        )
        self._sweepings.append(
            OrgSweeping(
                org,
                sweeper.round,
                interval=app.sweep_interval,
                caught_up=lambda: poller.caught_up,
                database_trouble=self._trouble,
                enqueued=self._deliver_now,
            )
        )

    def _schedule_orgs(self) -> None:
        every = self.schedule.every
        poll_interval, sweep_interval = self._app.poll_interval, self._app.sweep_interval
        if self._replica is not None:
            every(self._replica.interval, "leases", self._replica.round, exact=True)
        stagger = min(_STAGGER, poll_interval / len(self._pollings))
        for number, polling in enumerate(self._pollings):
            work = partial(self._poll, polling)
            every(poll_interval, f"poll:{polling.org}", work, after=stagger * number)
        for number, sweeping in enumerate(self._sweepings):
            # Spread the sweeps over the interval, so that those of 200 orgs don't run at once.
            after = sweep_interval * number / len(self._sweepings)
            every(sweep_interval, f"sweep:{sweeping.org}", partial(self._sweep, sweeping), after=after)

    def _schedule_the_rest(self) -> None:
        every, after = self.schedule.every, self._app.silence_after
        for name, delivery in self._deliveries.items():
            every(INTERVAL, name, delivery.round)
        every(check_interval(after), "silence", self._build_silence_checks().round)
        every(PRUNING_INTERVAL, "pruning", self._build_pruning().round, after=FIRST)
        for source in self._app.evidence_sources.fetched:
            update = EvidenceUpdate(source, self._app.evidence_sources)
            every(EVIDENCE_INTERVAL, f"evidence:{source.name}", update.round)
        if self._heartbeat is not None:
            every(self._app.poll_interval, "heartbeat", partial(self._send_heartbeat, self._heartbeat))
        if self._systemd.watchdog is not None:
            every(self._systemd.watchdog / 2, "watchdog", self._feed_watchdog, exact=True)
        every(check_interval(after), "database", self._watch_database, exact=True)

    def _build_silence_checks(self) -> SilenceChecks:
        app = self._app
        silence_watch = SilenceWatch(
            app.org_tags,
            app.routes,
            self._database,
            after=app.silence_after,
            notifiers={notifier.name: notifier.escalation for notifier in app.notifiers},
        )
        return SilenceChecks(
            silence_watch,
            database_trouble=self._trouble,
            enqueued=self._deliver_now,
            complete=self._database_watch.silence_checked,
        )

    def _build_pruning(self) -> Pruning:
        pruner = build_pruner(self._app, self._database)
        return Pruning(
            partial(pruner.round, holds=self.holds),
            now=self._database.now,
            okta_time=lambda: self._okta_time,
            database_trouble=self._trouble,
        )

    async def _poll(self, polling: OrgPolling) -> timedelta | None:
        delay = None
        if self.holds(polling.org):
            with self._counters.polls.time():
                delay = await polling.round()
            dates = [poller.caught_up.date for poller in self._pollers if poller.caught_up is not None]
            self._okta_time = max(dates, default=self._okta_time)
            if self._heartbeat is not None and not polling.failing:
                self._heartbeat.polled(polling.org)
        self._presence.waits.pop(polling.org, None)
        if polling.failing and delay is not None:
            self._record_wait(polling.org, WaitReason.BACK_OFF, delay.total_seconds())
        self._watchdog.round_ended(polling.org, next_in=self._app.poll_interval if delay is None else delay)
        self._report(self._summary())
        return delay

    def _record_wait(self, org: str, reason: WaitReason, seconds: float) -> None:
        """Record that an org waits.

        A long wait is written to the daemon's row at once, a short one only if the row happens to be written meanwhile.
        """
        until = self._database.now() + timedelta(seconds=seconds)
        self._presence.waits[org] = Wait(until=until, reason=reason)
        if seconds >= _LONG_WAIT_S:
            self.schedule.again("database")

    def _report(self, state: str) -> None:
        self._systemd.status(state)
        if state != self._presence.state:
            self._presence.state = state
            self.schedule.again("database")

    async def _watch_database(self) -> timedelta | None:
        await self._database_watch.round()
        # If `_report` requested a run during this run, the request was skipped.
        return _SOON if self._presence.outdated else None

    async def _sweep(self, sweeping: OrgSweeping) -> timedelta | None:
        return await sweeping.round() if self.holds(sweeping.org) else None

    async def _send_heartbeat(self, heartbeat: Heartbeat) -> None:
        await heartbeat.round([polling.org for polling in self._pollings if self.holds(polling.org)])

    async def _feed_watchdog(self) -> None:
        if stuck := self._watchdog.stuck():
            _log.error("polls_stuck", orgs=stuck[:_MOST_NAMED], count=len(stuck))
        else:
            self._systemd.alive()

    def _deliver_now(self) -> None:
        for name in self._deliveries:
            self.schedule.again(name)

    def _summary(self) -> str:
        held = [polling for polling in self._pollings if self.holds(polling.org)]
        failing = [polling.org for polling in held if polling.failing]
        orgs = len(held)
        watching = f"watching {orgs} org{'' if orgs == 1 else 's'}"
        if not failing:
            return watching
        named = ", ".join(failing[:_MOST_NAMED]) + (", …" if len(failing) > _MOST_NAMED else "")
        return f"{watching}, {len(failing)} failing: {named}"
