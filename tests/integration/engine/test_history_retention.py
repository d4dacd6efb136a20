"""Pruning keeps the history that rules and backfills can still need."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.detection.rules.first_proxied_session import FirstProxiedSession
from oktawatch.detection.rules.multiple_sessions import MultipleSessions
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.store import tables
from oktawatch.store.backfills import begin_backfill
from oktawatch.store.database import Database
from oktawatch.store.pruning import count_expired, prune_events
from tests.support.databases import NOW, ORG, empty, open_database
from tests.support.places import Kind, place_of
from tests.support.pruning import (
    DAY,
    OTHER,
    SHORT_AGES,
    expiry_before,
    history_ages,
    pruner,
    read,
    record_poll,
)


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each test empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("pruning")) as place, open_database(place, OTHER) as made:
        yield made


@pytest.fixture
def executor(database: Database) -> Iterator[DatabaseExecutor]:
    """Yield the emptied database with its own threads."""
    empty(database)
    made = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    yield made
    made.close()


async def test_history_is_kept_for_the_longest_window(database: Database, executor: DatabaseExecutor) -> None:
    """History is kept for the longest window before the earliest event that can still arrive."""
    record_poll(database, NOW, swept=NOW - 2 * DAY)
    ages = [timedelta(days=days) for days in range(14, -1, -1)]
    read(database, *ages)
    await pruner(executor, ages=SHORT_AGES).round()
    assert history_ages(database) == list(range(10, -1, -1))
    await pruner(executor, RuleSet([MultipleSessions()]), ages=SHORT_AGES).round()
    assert history_ages(database) == list(range(3, -1, -1))
    await pruner(executor, build_rules({}, read_file=str), ages=SHORT_AGES).round()
    assert history_ages(database) == [1, 0]


async def test_history_that_no_rule_needs_is_kept_for_the_retention_of_events(
    database: Database, executor: DatabaseExecutor
) -> None:
    """History that no rule needs is kept for `retention.events`."""
    record_poll(database, NOW)
    read(database, 31 * DAY, 30 * DAY, 20 * DAY)
    await pruner(executor).round()
    assert history_ages(database) == [30, 20]


async def test_an_unusable_rule_keeps_all_history(database: Database, executor: DatabaseExecutor) -> None:
    """While a rule can't be used, no history is deleted."""
    record_poll(database, NOW)
    read(database, 89 * DAY)
    await pruner(executor, RuleSet([MultipleSessions()], complete=False), ages=SHORT_AGES).round()
    assert history_ages(database) == [89]
    await pruner(executor, RuleSet([MultipleSessions()]), ages=SHORT_AGES).round()
    assert history_ages(database) == []


async def test_history_since_the_last_poll_is_kept(database: Database, executor: DatabaseExecutor) -> None:
    """An org that was not read for long keeps the history since its last poll, within Okta's retention."""
    record_poll(database, NOW - 50 * DAY)
    read(database, 100 * DAY, 59 * DAY, 58 * DAY, 57 * DAY, 50 * DAY)
    await pruner(executor, ages=SHORT_AGES).round()
    assert history_ages(database) == [58, 57, 50]
    with database.write() as connection:
        connection.execute(update(tables.cursors).values(last_caught_up_at=NOW - 500 * DAY))
    read(database, 100 * DAY, 98 * DAY)
    await pruner(executor, ages=SHORT_AGES).round()
    assert history_ages(database) == [98, 58, 57, 50]


async def test_a_running_backfill_keeps_its_history(database: Database, executor: DatabaseExecutor) -> None:
    """A running backfill keeps the history it needs, which is pruned after its end."""
    record_poll(database, NOW)
    since = NOW - 60 * DAY
    begin_backfill(
        database, ORG, command="backfill --since 60d", filter="", since=since, until=NOW, notify=False, query="?", now=NOW,
    )  # fmt: skip
    read(database, 69 * DAY, 60 * DAY, 30 * DAY)
    await pruner(executor, ages=SHORT_AGES).round()
    assert history_ages(database) == [60, 30]
    # It was interrupted and not resumed.
    await pruner(executor, now=NOW + 2 * DAY, ages=SHORT_AGES).round()
    assert history_ages(database) == []


def test_a_backfill_that_begins_between_batches_keeps_its_history(database: Database) -> None:
    """A backfill that begins between two batches keeps the history that it reads."""
    empty(database)
    rules = RuleSet([FirstProxiedSession()])
    expiry = expiry_before(NOW, rules)
    read(database, 70 * DAY, 69 * DAY, rules=rules)
    assert prune_events(database, expiry, 1).rows["events"] == 1
    begin_backfill(
        database, ORG, command="backfill --since 60d", filter="", since=NOW - 60 * DAY, until=NOW, notify=False, query="?",
        now=NOW,
    )  # fmt: skip
    read(database, 60 * DAY, 50 * DAY, rules=rules)
    assert prune_events(database, expiry, 10).rows["events"] == 1
    assert history_ages(database) == [60, 50]
    assert count_expired(database, expiry)["events"] == 0
