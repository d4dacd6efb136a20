"""A backlog is read completely, with any event dates and refused cursors, over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine import restart_point
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.page_source import PageSource
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.simulator import SimulatedOrg, faults, serve
from oktawatch.store.orgs import register_orgs
from oktawatch.systemlog.errors import SystemLogError
from tests.support.databases import NOW, ORG, create_schema, rows
from tests.support.faults import TOKEN, client_of
from tests.support.streams import body

RULES = build_rules({}, read_file=lambda _path: "")
ALL_RULES = build_rules({}, enable=["*"], read_file=lambda _path: "")
DAYS = timedelta(days=3)


def make_poller(
    source: PageSource, database: DatabaseExecutor, *, rules: RuleSet = RULES, page_size: int = 50
) -> Poller:
    """Create a poller that starts at the beginning of the backlog."""
    return Poller(
        source,
        database,
        Watch(org=ORG, rules=rules),
        page_size=page_size,
        initial_lookback=DAYS,
        now=lambda: NOW,
    )


def behind(count: int) -> SimulatedOrg:
    """Return an org with three days of events, of which one is dated 2099 and one tomorrow."""
    org = SimulatedOrg(token=TOKEN, now=lambda: NOW)
    for number in range(count):
        at = DAYS * (number / count) - DAYS
        wrong = {count // 5: timedelta(days=26_000), count // 4: at + timedelta(days=1)}.get(number, at)
        org.persist(body(number, at=wrong), persisted_at=NOW + at)
    return org


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[DatabaseExecutor]:
    """Yield an SQLite database, because these tests don't depend on the kind."""
    executor = DatabaseExecutor(f"sqlite:///{tmp_path / 'oktawatch.db'}", create=True)
    await executor.run(create_schema)
    await executor.run(register_orgs, [ORG], now=NOW)
    yield executor
    executor.close()


Restart = Callable[[SimulatedOrg], dict[str, Any]]


def refused(org: SimulatedOrg) -> dict[str, Any]:
    """Make Okta refuse every cursor that it has returned until now."""
    org.cursors.forget()
    return {}


@pytest.mark.parametrize(
    "restart",
    [
        pytest.param(refused, id="refused cursor"),
        pytest.param(lambda _org: {"page_size": 20}, id="another page size"),
        pytest.param(lambda _org: {"rules": ALL_RULES}, id="another filter"),
    ],
)
async def test_a_future_date_does_not_lose_the_backlog(database: DatabaseExecutor, restart: Restart) -> None:
    """After a third of a backlog with wrong dates was read, a restart reads the rest."""
    org = behind(300)
    async with serve(org) as url, client_of(url) as client:
        first = make_poller(client, database)
        org.faults.kth(3, faults.html(502))
        with pytest.raises(SystemLogError):
            await first.round()
        read = {row["uuid"] for row in rows(database.database, "events")}
        assert len(read) == 100
        later = make_poller(client, database, **restart(org))
        await later.round()
    assert len(rows(database.database, "events")) == 300


@settings(max_examples=10)
@given(
    ages=st.lists(st.timedeltas(timedelta(), timedelta(days=10)), min_size=1, max_size=40),
    wrong=st.timedeltas(timedelta(seconds=1), timedelta(days=26_000)),
    seed=st.integers(0, 1000),
    page_size=st.integers(1, 10),
)
def test_nothing_is_lost_wherever_cursors_are_refused(
    ages: list[timedelta], wrong: timedelta, seed: int, page_size: int
) -> None:
    """A backlog of days with wrong dates is read completely, for any page size and any refused cursors."""

    async def read() -> None:
        org = SimulatedOrg(token=TOKEN, now=lambda: NOW)
        for number, age in enumerate(ages):
            at = DAYS * (number / len(ages)) - DAYS
            org.persist(body(number, at=at + (wrong if number % 3 == 0 else -age)), persisted_at=NOW + at)
        org.faults.some(0.4, [faults.refused_cursor(), faults.cap(1)], seed=seed)
        database = DatabaseExecutor("sqlite://", create=True)
        try:
            await database.run(create_schema)
            await database.run(register_orgs, [ORG], now=NOW)
            async with serve(org) as url, client_of(url) as client:
                for number in range(6):
                    poller = make_poller(client, database, page_size=page_size + number % 2)
                    with contextlib.suppress(SystemLogError):
                        await poller.round()
                        await poller.round()
                    org.cursors.forget()
                org.faults.clear()
                await make_poller(client, database, page_size=page_size).round()
            assert len(rows(database.database, "events")) == len(ages)
        finally:
            database.close()

    with mock.patch.object(restart_point, "BLOCK", 5):
        asyncio.run(read())
