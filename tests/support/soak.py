"""Read days of a faulty org with the real client in virtual time.

The simulator and the client run in one loop over real HTTP on loopback, with one clock. A wait advances the clock, and
nothing sleeps. At the end, the results are compared with the simulated org's own record.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.engine.routing import Route
from oktawatch.engine.sweep import Sweeper
from oktawatch.model.match import Match
from oktawatch.model.severity import Severity
from oktawatch.model.timestamps import to_text
from oktawatch.notify.channel import DeliveryError
from oktawatch.notify.composer import Composer
from oktawatch.notify.message import Message
from oktawatch.simulator import SimulatedOrg, broken, delay, faults, serve
from oktawatch.store.database import Database
from oktawatch.store.orgs import register_orgs
from oktawatch.store.page_transaction import PageTransaction
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import SystemLogError
from oktawatch.systemlog.priority import PagesAt, Priority
from tests.support.databases import ORG, create_schema, rows
from tests.support.logclient import NOW, TOKEN, Clock

MINUTE = timedelta(minutes=1)
POLLS = 300
POLL_INTERVAL = 10 * MINUTE
LATEST = 20 * MINUTE
"""The maximum delay of an event."""
DEDUP_PERIOD = timedelta(hours=6)
OPERATOR = "APPLE_ICLOUD_RELAY_PROXY"
TIMEOUT_S = 0.5
"""Seconds of real time after which a hanging request is abandoned."""
UNREACHABLE = "http://127.0.0.1:1"
"""A URL that refuses connections."""


def sign_ins(
    seed: int, unreadable: list[dict[str, Any]]
) -> Iterator[tuple[datetime, dict[str, Any] | bytes]]:
    """Yield an endless sequence of sign-ins, one every two minutes: few users and addresses, some broken.

    ``unreadable`` collects the events that are nested too deeply for Python to parse them from the org's record again.
    """
    rng = random.Random(seed)
    odd = itertools.cycle(broken.USABLE.items())
    nameless = itertools.cycle(broken.UNUSABLE.values())
    for number in itertools.count():
        moment = NOW + number * 2 * MINUTE
        relay = [{"operator": OPERATOR}] if rng.random() < 0.3 else []
        made: dict[str, Any] = {
            "uuid": f"00000000-0000-4000-8000-{number:012d}",
            "published": to_text(moment - timedelta(seconds=rng.randrange(30))),
            "eventType": rng.choice(["user.session.start"] * 4 + ["user.session.end"]),
            "actor": {"id": f"00u{rng.randrange(4)}", "alternateId": "nora@example.com"},
            "client": {"ipAddress": f"203.0.113.{rng.randrange(3)}"},
            "securityContext": {"isProxy": rng.random() < 0.4, "ipDetails": {"ipServiceCategories": relay}},
        }
        match number % 40:
            case 13:
                name, change = next(odd)
                if name == "nested":
                    unreadable.append(made)
                yield moment, change(made)
            case 27:
                yield moment, next(nameless)(made)
            case _:
                yield moment, made


@dataclass
class Receiver:
    """A channel that fails sometimes and records the messages that it accepted."""

    rng: random.Random
    taken: list[str] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """Accept or refuse a message."""
        if self.rng.random() < 0.2:
            raise DeliveryError("no")
        self.taken.append(message.id)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Soak:
    """One org, one reader and one seed."""

    def __init__(self, seed: int, url: str) -> None:
        """``url`` is the database's."""
        self.rng = random.Random(seed)
        self.clock = Clock()
        # Some orgs share a low rate limit with other tools. The limit of the others is never reached.
        limits = {"rate_limit": 60, "others": self.rng.choice([0, 20, 40])} if seed % 3 else {}
        self.org = SimulatedOrg(now=self.clock, token=TOKEN, **limits)
        self._unreadable: list[dict[str, Any]] = []
        self.org.play(delay(sign_ins(seed, self._unreadable), share=0.02, by=LATEST, seed=seed))
        self.org.faults.some(0.003, [faults.hang(), faults.stall()], seed=seed)
        self.org.faults.some(0.25, faults.every(), seed=seed)
        start = NOW + self.rng.randrange(2000) * MINUTE
        self.org.faults.between(start, start + 60 * MINUTE, faults.refused_token())
        self.receiver = Receiver(random.Random(seed))
        self.recorded: list[Match] = []
        """The matches in the order in which they were recorded."""
        self.late = 0
        self.failures: set[str] = set()
        self._database = DatabaseExecutor(url, create=True)
        self._watch = Watch(
            org=ORG,
            rules=build_rules({}, read_file=lambda _path: ""),
            routes=(Route(notifier="soc", min_severity=Severity.INFO),),
        )

    async def run(self) -> None:
        """Run for several days, then for an hour without faults."""
        await self._database.run(create_schema)
        await self._database.run(register_orgs, [ORG], now=self.clock())
        with mock.patch.object(PageTransaction, "add_matches", _recording_matches(self.recorded)):
            async with serve(self.org) as url:
                sweep_due = False
                for number in range(POLLS):
                    if number % 50 == 0:
                        # The process was killed and is started again.
                        client, poller, sweeper, notifier = self._start(url)
                    self.clock.time = max(self.clock.time, NOW + number * POLL_INTERVAL)
                    if self.rng.random() < 0.02:
                        self.org.cursors.forget()
                    sweep_due = sweep_due or number % 6 == 5
                    sweep_due = not await self._round(poller, sweeper, sweep=sweep_due) and sweep_due
                    await notifier.round()
                    if number % 50 == 49:
                        await client.close()
                        await self._unreachable()
                await self._settle(url)

    @property
    def database(self) -> Database:
        """The database that the reader wrote."""
        return self._database.database

    def sign_ins(self) -> list[dict[str, Any]]:
        """Return every sign-in of the org."""
        events = [*self.org.events, *self._unreadable]
        return [
            event
            for event in events
            if isinstance(event, dict) and event.get("eventType") == "user.session.start"
        ]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _start(self, url: str) -> tuple[LogClient, Poller, Sweeper, Notifier]:
        client = LogClient(
            OrgAccess(ORG, url, TOKEN),
            timeout=TIMEOUT_S,
            budget=RateBudget(clock=self._seconds, sleep=self._sleep, jitter=self.rng.random),
        )
        poller = Poller(
            client,
            self._database,
            self._watch,
            page_size=50,
            initial_lookback=timedelta(hours=12),
            now=self.clock,
            clock=self._seconds,
        )
        sweeper = Sweeper(
            PagesAt(client, Priority.SWEEP),
            self._database,
            self._watch,
            page_size=200,
            window=timedelta(hours=2),
            now=self.clock,
        )
        notifier = Notifier(
            "soc",
            self.receiver,
            Composer(orgs={}, rules={}),
            self._database,
            max_age=timedelta(days=30),
            now=self.clock,
            clock=self._seconds,
            jitter=self.rng.random,
        )
        return client, poller, sweeper, notifier

    async def _round(self, poller: Poller, sweeper: Sweeper, *, sweep: bool) -> bool:
        """Poll and, if a sweep is requested, sweep after catching up. Return whether everything succeeded."""
        try:
            await poller.round(deadline=self._seconds() + 300)
            if sweep and poller.caught_up is not None:
                self.late += (await sweeper.round(poller.caught_up)).new_events
        except SystemLogError as error:
            self.failures.add(error.reason)
            return False
        return not sweep or poller.caught_up is not None

    async def _unreachable(self) -> None:
        """Poll while the org refuses connections."""
        client, poller, sweeper, _ = self._start(UNREACHABLE)
        assert not await self._round(poller, sweeper, sweep=True)
        await client.close()

    async def _settle(self, url: str) -> None:
        self.org.faults.clear()
        self.end = self.clock()
        """The time before which all events must be stored."""
        client, poller, sweeper, notifier = self._start(url)
        self.clock.time += LATEST + 10 * MINUTE
        while not await self._round(poller, sweeper, sweep=True):
            self.clock.time += MINUTE
        while any(row["state"] == "pending" for row in rows(self.database, "notifications")):
            self.clock.time += timedelta(hours=1)
            await notifier.round()
        await client.close()

    def _seconds(self) -> float:
        return (self.clock() - NOW).total_seconds()

    async def _sleep(self, seconds: float) -> None:
        self.clock.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def _recording_matches(recorded: list[Match]) -> Any:
    """Return a replacement of `add_matches` that also records new matches. Its transaction never fails afterwards."""
    original = PageTransaction.add_matches

    def add_matches(transaction: PageTransaction, matches: Sequence[tuple[Match, Any]]) -> None:
        original(transaction, matches)
        recorded.extend(match for match, _ in matches)

    return add_matches


def grouped(matches: Sequence[Match]) -> list[tuple[str, datetime, int, datetime, datetime, Severity]]:
    """Group matches with a simple reference implementation."""
    alerts: list[dict[str, Any]] = []
    for match in matches:
        same = [alert for alert in alerts if alert["key"] == match.dedup_key]
        before = [
            alert for alert in same if alert["anchor"] <= match.published < alert["anchor"] + DEDUP_PERIOD
        ]
        after = [
            alert for alert in same if match.published < alert["anchor"] < match.published + DEDUP_PERIOD
        ]
        if before:
            alert = max(before, key=lambda alert: alert["anchor"])
        elif after:
            alert = min(after, key=lambda alert: alert["anchor"])
        else:
            alert = {"key": match.dedup_key, "anchor": match.published, "matches": []}
            alerts.append(alert)
        alert["matches"].append(match)
    return sorted(
        (
            alert["key"],
            alert["anchor"],
            len(alert["matches"]),
            min(match.published for match in alert["matches"]),
            max(match.published for match in alert["matches"]),
            max(match.severity for match in alert["matches"]),
        )
        for alert in alerts
    )
