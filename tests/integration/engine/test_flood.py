"""Ten thousand alerts within a minute don't delay polling, and a receiver that accepts 60 messages a minute gets digests."""

import asyncio
import os
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event, func, select

from oktawatch.config import NotifierSettings
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier, plan_messages
from oktawatch.notify.webhook import WebhookChannel
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.outbox import anything_due, claim
from tests.support.databases import NOW, open_database
from tests.support.http import Answer, HttpReceiver, listening
from tests.support.outbox import COMPOSER, Clock, put, sign_in
from tests.support.places import Kind, Place

ALERTS = 10_000
PAGES = 50
TAKES = 60
"""The receiver's limit in messages per minute. It refuses further ones with the time to wait, as Slack does."""
CONFIGURED = 90
"""The configured limit."""
MEGABYTES = 48
"""Memory that a flood of ten thousand may take at its flooded.grown / 1e6, of which the test's own events are a part."""
BOTH = [Kind.SQLITE, pytest.param(Kind.POSTGRES, marks=pytest.mark.slow)]
PATIENCE = 3.0
"""The maximum duration of a page in seconds, on a loaded machine; an idle org is polled every 30 s."""


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Strict(HttpReceiver):
    """A channel that accepts a limited number of messages per minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lately: deque[datetime] = deque()

    def answer(self) -> Answer:
        """Accept the message, or raise an error with the time of the next attempt."""
        now = self._clock()
        while self._lately and self._lately[0] <= now - timedelta(minutes=1):
            self._lately.popleft()
        if len(self._lately) < TAKES:
            self._lately.append(now)
            return Answer(200)
        wait = self._lately[0] + timedelta(minutes=1) - now
        return Answer(429, {"Retry-After": str(int(wait.total_seconds()) + 1)})


class Flooded:
    """The two halves of a daemon in one process, pages and a notifier, with their measurements."""

    def __init__(self, executor: DatabaseExecutor, clock: Clock, receiver: Strict) -> None:
        self.executor = executor
        self.clock = clock
        self.receiver = receiver
        self.seconds: list[float] = []
        self.stalls: list[float] = []
        self.grown = 0
        self.over = False
        self._number = 0
        channel = WebhookChannel(NotifierSettings(type="webhook", url=SecretStr(receiver.url)))
        self.channel = channel
        self.notifier = Notifier(
            "soc", channel, COMPOSER, executor,
            max_age=timedelta(days=1), per_minute=CONFIGURED, now=clock, clock=clock.monotonic,
        )  # fmt: skip

    async def page(self, alerts: int) -> None:
        """Commit a page that opens alerts; record the duration, including the wait for the lock."""
        first, self._number = self._number, self._number + alerts
        # Half of the sign-ins are from 200 shared addresses, each of the others from a separate one.
        events = [
            sign_in(n, at=self.clock(), ip=f"203.0.113.{n % 200}" if n % 2 else f"2001:db8::{n:x}")
            for n in range(first, self._number)
        ]
        begun = time.perf_counter()
        await self.executor.run(lambda database: put(database, *events, now=self.clock()))
        self.seconds.append(time.perf_counter() - begun)

    async def watch(self) -> None:
        """Record how long the event loop was blocked, and the memory."""
        before = resident()
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.01)
            self.stalls.append(time.perf_counter() - begun - 0.01)
            self.grown = max(self.grown, resident() - before)

    async def deliver(self) -> None:
        """Deliver in rounds, one after the other, until the flood is over."""
        while not self.over:
            await self.notifier.round()
            await asyncio.sleep(0.02)

    def states(self) -> Counter[str]:
        """Count the outbox by state."""
        state = tables.notifications.c.state
        with self.executor.database.read() as connection:
            counted = connection.execute(select(state, func.count().label("total")).group_by(state)).all()
        return Counter({row.state: row.total for row in counted})


@pytest.fixture
async def flooded(place: Place) -> AsyncIterator[Flooded]:
    """Return a daemon with an empty database."""
    clock = Clock()
    with open_database(place):
        executor = DatabaseExecutor(place.url)
        receiver = Strict(clock)
        async with listening(receiver=receiver):
            made = Flooded(executor, clock, receiver)
            yield made
            await made.channel.close()
        executor.close()


@pytest.mark.parametrize("kind", BOTH, scope="module")
async def test_ten_thousand_alerts_in_a_minute_delay_no_page(flooded: Flooded) -> None:
    """A flood neither delays pages nor grows memory; digests replace most messages, and none is left."""
    for _ in range(3):
        await flooded.page(ALERTS // PAGES)
        flooded.clock.advance(seconds=1)
    alone, flooded.seconds = median(flooded.seconds), []
    delivering, watching = (asyncio.create_task(work) for work in (flooded.deliver(), flooded.watch()))
    for _ in range(PAGES):
        await flooded.page(ALERTS // PAGES)
        flooded.clock.advance(seconds=60 / PAGES)
    # The last round is finished. A cancelled one would leave a message that was taken but not marked as sent,
    # which is sent again under its id, and its alerts would be counted twice below.
    flooded.over = True
    await delivering
    watching.cancel()
    await asyncio.wait([watching])
    minutes = 0
    while flooded.states()["pending"] and minutes < 30:
        flooded.clock.advance(minutes=1)
        minutes += 1
        await flooded.notifier.round()

    states = flooded.states()
    types = Counter(message.json["type"] for message in flooded.receiver.taken)
    assert set(states) == {"sent", "digested"}
    assert states["digested"] > 0.9 * ALERTS
    assert types["digest"] < 100
    assert types.total() <= TAKES * (minutes + 2)
    alerts = sum(
        message.json["digest"]["alerts"]
        for message in flooded.receiver.taken
        if message.json["type"] == "digest"
    )
    assert alerts == states["digested"]
    assert any(message.answer.status == 429 for message in flooded.receiver.received)
    assert median(flooded.seconds) < 3 * alone + 1
    assert max(flooded.seconds) < PATIENCE
    assert max(flooded.stalls) < 3
    assert flooded.grown < MEGABYTES * 1024 * 1024


PENDING = 10_000


@pytest.fixture
def waiting(place: Place) -> Iterator[Database]:
    """Yield an outbox in which ten thousand notifications wait for one notifier, and a few for another."""
    waits = [
        {
            "id": f"00000000-0000-4000-8000-{number:012d}",
            "notifier": "pager" if number % 100 else "soc",
            "kind": "silence",
            "state": "pending",
            "attempts": 0,
            "next_attempt_at": NOW + timedelta(seconds=number),
            "created_at": NOW,
            "late": False,
            "content": {"state": "over", "about": []},
        }
        for number in range(PENDING)
    ]
    with open_database(place) as database:
        with database.write() as connection:
            connection.execute(tables.notifications.insert(), waits)
        if place.kind is Kind.POSTGRES:
            place.run("ANALYZE")
        yield database


def plans(database: Database, work: Callable[[], object]) -> list[str]:
    """Run some work; return the plans of its queries about notifications."""
    asked: list[tuple[str, Any]] = []

    def ask(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        if statement.startswith("SELECT") and "FROM notifications" in statement:
            asked.append((statement, parameters))

    event.listen(database._engine, "before_cursor_execute", ask)
    work()
    event.remove(database._engine, "before_cursor_execute", ask)
    explain = "EXPLAIN " if database.shared else "EXPLAIN QUERY PLAN "
    with database.read() as connection:
        return [
            "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))
            for statement, parameters in asked
        ]


def test_queries_of_ten_thousand_notifications_use_an_index(waiting: Database) -> None:
    """The queries for due, next and sent messages use an index."""
    due = NOW + timedelta(seconds=100)

    found = plans(waiting, lambda: anything_due(waiting, "pager", now=due))
    found += plans(waiting, lambda: claim(waiting, "pager", now=due, lease=timedelta(minutes=2)))
    found += plans(waiting, lambda: plan_messages(waiting, "soc", now=NOW - timedelta(days=1), per_minute=30))

    assert len(found) >= 4
    for plan in found:
        assert "index" in plan.lower(), plan
        assert not re.search(r"SCAN notifications(?! USING)|Seq Scan on notifications", plan), plan
