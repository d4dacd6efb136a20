"""Pruning deletes expired rows in batches, beside pages and other pruners."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.pruning import prune_alerts
from tests.support.databases import NOW, ORG, empty, open_database, outcome, rows
from tests.support.places import Kind, place_of
from tests.support.pruning import (
    AGES,
    ALL,
    DAY,
    OTHER,
    expiry_before,
    pruner,
    read,
    record_poll,
)
from tests.support.streams import event, page
from tests.support.waiting import eventually


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


def add_notifications_actions_and_backfills(database: Database) -> None:
    """Insert notifications without an alert and backfills, expired and not, and an action on each alert."""
    with database.write() as connection:
        connection.execute(
            insert(tables.notifications),
            [
                {"id": f"{kind}-{state}-{age}", "notifier": "soc", "kind": kind, "state": state, "attempts": 0,
                 "created_at": NOW - age * DAY, "late": False}
                for kind, state, age in (
                    ("digest", "sent", 401), ("digest", "sent", 399), ("silence", "pending", 401), ("test", "dead", 401),
                )
            ],
        )  # fmt: skip
        connection.execute(
            insert(tables.alert_actions),
            [
                {"alert_id": alert_id, "at": NOW, "by": "nora", "action": "noted"}
                for alert_id in connection.execute(select(tables.alerts.c.id)).scalars()
            ],
        )
        for age, finished in ((31, 31), (29, 29), (31, None)):
            at = NOW - age * DAY
            connection.execute(
                insert(tables.backfills).values(
                    org=ORG, command="backfill", filter="", since=at, until=at, notify=False, cursor="?",
                    started_at=at, updated_at=at, finished_at=None if finished is None else at,
                    pages=0, events=0, new_events=0, matches=0, alerts=0,
                )
            )  # fmt: skip


async def test_expired_rows_are_deleted_with_their_dependents(
    database: Database, executor: DatabaseExecutor
) -> None:
    """Expired rows are deleted with everything that depends on them, and other rows stay."""
    read(database, 401 * DAY, 400 * DAY + timedelta(seconds=1), rejected=True)
    read(database, 400 * DAY, 31 * DAY, 30 * DAY, timedelta())
    record_poll(database, NOW)
    add_notifications_actions_and_backfills(database)
    before = outcome(database)
    counted = await pruner(executor).count()
    assert outcome(database) == before
    deleted = await pruner(executor).round()
    assert deleted == counted
    assert deleted == {
        "alerts": 4, "matches": 4, "notifications": 6, "alert_actions": 4, "events": 4, "rejected_events": 1,
        "backfills": 2, "sightings": 3,
    }  # fmt: skip
    assert {name: len(rows(database, name)) for name in deleted} == {
        "alerts": 8, "matches": 8, "notifications": 10, "alert_actions": 8, "events": 2, "rejected_events": 0,
        "backfills": 1, "sightings": 3,
    }  # fmt: skip
    after = outcome(database)
    assert all(row in before[name] for name, kept in after.items() for row in kept)
    assert {match["alert"] for match in after["matches"]} == {
        (alert["rule_id"], alert["dedup_key"], alert["anchor"]) for alert in after["alerts"]
    }
    assert (await pruner(executor).round()) == {}


async def test_expired_alerts_of_any_status_are_deleted(
    database: Database, executor: DatabaseExecutor
) -> None:
    """Expired alerts of any status are deleted."""
    read(database, *((401 + n) * DAY for n in range(4)), rules=build_rules({}, read_file=str))
    for alert, status in zip(
        rows(database, "alerts"), ("open", "acknowledged", "closed", "pending"), strict=True
    ):
        with database.write() as connection:
            changed = update(tables.alerts).where(tables.alerts.c.id == alert["id"])
            connection.execute(changed.values(status=status))
    assert (await pruner(executor).round())["alerts"] == 4


async def test_an_alert_is_deleted_after_its_matches(database: Database) -> None:
    """A crash while pruning an alert leaves it with fewer matches, but never a match without its alert."""
    empty(database)
    rules = build_rules({}, read_file=str)
    events = [event(number, at=-401 * DAY + timedelta(minutes=number)) for number in range(7)]
    watch = Watch(org=ORG, rules=rules, routes=(Route(notifier="soc"),))
    commit_page(database, watch, page(events), notify=True, advance=lambda *_: None, now=NOW - 401 * DAY)
    expiry = expiry_before(NOW - AGES.alerts, rules)
    seen = []
    more = True
    while more:
        more = prune_alerts(database, expiry, 3).more
        seen.append(tuple(len(rows(database, name)) for name in ("matches", "notifications", "alerts")))
    assert seen == [(4, 1, 1), (1, 1, 1), (0, 0, 0)]


async def test_orgs_that_are_not_configured_are_pruned(
    database: Database, executor: DatabaseExecutor
) -> None:
    """Orgs that are not configured are pruned, except those of another replica."""
    for org in (ORG, OTHER):
        read(database, 401 * DAY, org=org, rules=build_rules({}, read_file=str))
    with database.write() as connection:
        names = tables.orgs.c.name
        connection.execute(
            update(tables.orgs).where(names == OTHER).values(last_poll_at=NOW - timedelta(hours=1))
        )
        connection.execute(update(tables.orgs).where(names == ORG).values(last_poll_at=NOW - 2 * DAY))
        for org, age in ((ORG, 29), (OTHER, 31)):
            lease = {"org": org, "holder": None, "expires_at": NOW - age * DAY}
            connection.execute(insert(tables.leases).values(lease))
    try:
        nobody = pruner(executor, orgs=())
        assert (await nobody.round(holds=lambda _org: False))["leases"] == 1
        assert [alert["org"] for alert in rows(database, "alerts")] == [OTHER]
        assert [lease["org"] for lease in rows(database, "leases")] == [ORG]
        await pruner(executor, orgs=(ORG, OTHER)).round(holds=lambda org: org != OTHER)
        assert [alert["org"] for alert in rows(database, "alerts")] == [OTHER]
        await pruner(executor, orgs=(ORG, OTHER)).round(holds=lambda org: org == OTHER)
        assert rows(database, "alerts") == []
    finally:
        with database.write() as connection:
            connection.execute(update(tables.orgs).values(last_poll_at=None))


async def test_pages_and_concurrent_pruners_do_not_deadlock(
    database: Database, executor: DatabaseExecutor
) -> None:
    """Pages and two concurrent pruners don't deadlock, and delete the same rows as one pruner."""
    ages = [timedelta(days=900 - number) for number in range(400)]
    for start in range(0, len(ages), 50):
        read(database, *ages[start : start + 50])
    record_poll(database, NOW)
    other = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    again = DatabaseExecutor(database.url.render_as_string(hide_password=False))
    expected = await pruner(executor).count()

    async def pages() -> None:
        for number in itertools.chain(range(20), range(20)):
            sent = page(
                [event(1000 + number, at=-number * timedelta(minutes=1)), event(number, at=-ages[number])]
            )
            await again.run(
                commit_page, Watch(org=ORG, rules=ALL), sent, notify=True, advance=lambda *_: None, now=NOW
            )

    try:
        first, second, _ = await asyncio.gather(
            pruner(executor, most=20).round(), pruner(other, most=7).round(), pages()
        )
        await pruner(executor).round()
    finally:
        other.close()
        again.close()
    assert all((first + second)[name] >= expected[name] for name in ("alerts", "matches", "events"))
    assert (await pruner(executor).count()) == {}
    kept = {name: len(rows(database, name)) for name in ("signals", "events")}
    assert kept == {"signals": 0, "events": 20}
    alerts = {alert["id"] for alert in rows(database, "alerts")}
    assert {match["alert_id"] for match in rows(database, "matches")} == alerts


async def test_a_stop_waits_only_for_the_current_batch(
    database: Database, executor: DatabaseExecutor
) -> None:
    """A stop waits only for the current batch, which is committed."""
    read(database, *(timedelta(days=500 + number) for number in range(60)))
    task = asyncio.create_task(pruner(executor, most=1).round())
    await eventually(lambda: len(rows(database, "alerts")) < 120)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert 0 < len(rows(database, "alerts")) < 120
    await pruner(executor).round()
    assert rows(database, "alerts") == []


async def test_a_failure_of_the_database_raises_store_error(
    database: Database, executor: DatabaseExecutor
) -> None:
    """A failure of the database while pruning raises StoreError."""
    executor.stop()
    read(database, 500 * DAY)
    with pytest.raises(StoreError):
        await pruner(executor).round()


def test_sqlite_reuses_the_space_of_pruned_rows(tmp_path: Any) -> None:
    """SQLite reuses the space of pruned rows, so that the file doesn't grow."""
    with place_of(Kind.SQLITE, tmp_path) as place, open_database(place) as database:

        def fill(first: int) -> int:
            for start in range(0, 6_000, 1_000):
                sent = page([event(first + start + n, at=first * DAY) for n in range(1_000)])
                commit_page(
                    database, Watch(org=ORG, rules=ALL), sent, notify=False, advance=lambda *_: None, now=NOW
                )
            with database.read() as connection:
                return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

        size = fill(-400_000)
        with database.read() as connection:
            free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
        assert free < size / 10
        executor = DatabaseExecutor(place.url)
        try:
            asyncio.run(pruner(executor, most=2_000).round())
        finally:
            executor.close()
        assert fill(0) <= size * 1.02
