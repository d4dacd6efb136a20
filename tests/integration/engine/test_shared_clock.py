"""Processes that share a database use its clock, even if their machines' clocks differ."""

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.deliver import Notifier
from oktawatch.engine.frozen_rules import watch_rules
from oktawatch.engine.process_files import process_path
from oktawatch.model.timestamps import utc_now
from oktawatch.notify.channel import DeliveryError
from oktawatch.rules import EventRule
from tests.support.custom_rules import custom_rule, watch_with
from tests.support.databases import open_database, rows
from tests.support.outbox import COMPOSER, Receiver, put, sign_in
from tests.support.places import Kind, Place
from tests.unit.engine.test_rule_watchdog import ended

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def executor(place: Place) -> Iterator[DatabaseExecutor]:
    """Return a database with its threads."""
    with open_database(place):
        made = DatabaseExecutor(place.url)
        yield made
        made.close()


def _near(moment: datetime, other: datetime) -> bool:
    return abs(moment - other) < MINUTE


async def test_now_is_the_servers_time(executor: DatabaseExecutor, place: Place) -> None:
    """The current time is the server's on Postgres, and this machine's on SQLite."""
    true = utc_now()
    with time_machine.travel(true + DAY) as machine:
        await executor.read_clock()
        read = executor.now()
        machine.shift(DAY)
        after_a_jump = executor.now()
        asked = executor.database.now()

    if place.kind is Kind.POSTGRES:
        assert all(_near(moment, true) for moment in (read, after_a_jump, asked))
    else:
        assert _near(read, true + DAY)
        assert all(_near(moment, true + 2 * DAY) for moment in (after_a_jump, asked))


async def test_a_replica_a_day_ahead_delays_no_delivery(executor: DatabaseExecutor, place: Place) -> None:
    """A replica whose clock is a day ahead delays no retries of other replicas."""
    put(executor.database, sign_in(1), now=utc_now())
    receiver = Receiver(DeliveryError("status 500"))
    with time_machine.travel(utc_now() + DAY):
        await executor.read_clock()
        await Notifier("soc", receiver, COMPOSER, executor, max_age=DAY).round()
    tried = rows(executor.database, "notifications")[0]

    other = DatabaseExecutor(place.url)
    await other.read_clock()
    ten_seconds_later = Notifier(
        "soc", receiver, COMPOSER, other, max_age=DAY, now=lambda: other.now() + timedelta(seconds=10)
    )
    sent = await ten_seconds_later.round()
    other.close()

    assert (tried["attempts"], sent) == (1, 1)
    assert _near(tried["next_attempt_at"], utc_now()) is (place.kind is Kind.POSTGRES)


async def test_a_rule_that_froze_is_recorded_with_the_shared_time(
    executor: DatabaseExecutor, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose clock is a day ahead records a frozen rule with the time that all processes share."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert ended(process_path(executor.database, "rules"), "call('main', freeze)") == -signal.SIGALRM
    watch = watch_with(custom_rule(EventRule, "Rule", matches=lambda *_: False))
    with time_machine.travel(utc_now() + DAY):
        await executor.read_clock()
        async with watch_rules(executor, watch.rules, org_tags={}, routes=()):
            (recorded,) = rows(executor.database, "rules_left_out")

    assert _near(recorded["froze_at"], utc_now()) is (place.kind is Kind.POSTGRES)
