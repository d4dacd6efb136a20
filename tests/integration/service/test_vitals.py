"""The daemon reports its problems, even while its database doesn't answer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from oktawatch import config
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.notification import NotificationState
from oktawatch.service.app import Application
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.vitals import Problem, Vitals
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.orgs import register_orgs
from tests.support.databases import create_schema
from tests.support.places import Place

CONFIGURATION = """
[[orgs]]
name = "acme"
url = "https://acme.okta.com"
token = "00invented"
[[orgs]]
name = "globex"
url = "https://globex.okta.com"
token = "00invented"
[[evidence.sources]]
name = "relays"
path = "relays.csv"
kind = "relay"
"""


class Jobs:
    """Jobs that poll some orgs, and have stuck polls."""

    def __init__(self) -> None:
        self.held = {"acme", "globex"}
        self.stuck_orgs: list[str] = []

    def holds(self, org: str) -> bool:
        """Return whether the org is held."""
        return org in self.held

    def stuck(self) -> list[str]:
        """Return the stuck orgs."""
        return self.stuck_orgs

    def rate_limits_remaining(self) -> dict[str, int]:
        """Return what Okta reported about one org."""
        return {"acme": 57}


class World:
    """The vitals of a daemon with two orgs."""

    def __init__(self, place: Place) -> None:
        file = place.folder / "oktawatch.toml"
        file.write_text(CONFIGURATION, "utf-8")
        (place.folder / "relays.csv").write_text("203.0.113.0/24\n", "utf-8")
        self.app = Application(config.load(file, environ={}))
        self.executor = DatabaseExecutor(place.url, create=True)
        self.database = self.executor.database
        self.trouble = DatabaseTrouble(lost=lambda: None)
        self.clock_s = 0.0
        self.jobs = Jobs()
        self.vitals = Vitals(self.executor, self.trouble, read_within_s=10.0, clock=lambda: self.clock_s)
        create_schema(self.database)
        register_orgs(self.database, ["acme", "globex"], now=self.executor.now())
        self.vitals.watch(self.app, self.jobs)

    def poll(self, org: str, *, ago: timedelta = timedelta(), error: str | None = None) -> None:
        """Record a poll."""
        at = self.executor.now() - ago
        cursor = {"org": org, "filter": "", "cursor": "/", "began_at": at, "updated_at": at}
        with self.database.write() as connection:
            connection.execute(
                update(tables.orgs).where(tables.orgs.c.name == org).values(last_poll_at=at, last_error=error)
            )
            connection.execute(tables.cursors.delete().where(tables.cursors.c.org == org))
            connection.execute(insert(tables.cursors).values(cursor | {"last_caught_up_at": at}))
        self.clock_s += 10


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    """Open the world's database, and close it."""
    made = World(place)
    yield made
    made.executor.stop()
    await made.vitals.close()
    made.executor.close()


def _blocked(release: threading.Event) -> Callable[[Database], None]:
    """Return a function that occupies a thread of the database."""

    def wait(_database: Database) -> None:
        release.wait(30)

    return wait


async def test_a_daemon_that_polls_is_ready(world: World) -> None:
    """Nothing is wrong with orgs that were polled just now."""
    world.poll("acme")
    world.poll("globex")

    assert (world.vitals.unhealthy(), await world.vitals.unready()) == ([], [])


async def test_a_starting_daemon_is_healthy_but_not_ready(world: World) -> None:
    """A starting daemon is not ready, with the reason why it waits for its database."""
    starting = Vitals(world.executor, world.trouble)
    world.trouble.failed(StoreError("the server is down"))

    assert starting.unhealthy() == []
    assert await starting.unready() == [
        Problem(what="start", problem="the daemon is starting"),
        Problem(what="database", problem="the server is down"),
    ]


async def test_each_problem_of_an_org_is_named(world: World) -> None:
    """Each problem of an org (behind, failing, never polled) has its text, and orgs of other replicas are ignored."""
    world.poll("acme", ago=timedelta(minutes=10), error="401: the token was refused")

    problems = await world.vitals.unready()

    assert {(problem.what, problem.name) for problem in problems} == {("org", "acme"), ("org", "globex")}
    texts = " | ".join(problem.problem for problem in problems)
    assert "no poll has caught up for 10" in texts
    assert "the last poll failed: 401: the token was refused" in texts
    assert "it was never polled" in texts
    world.jobs.held = {"globex"}
    assert {problem.name for problem in await world.vitals.unready()} == {"globex"}
    world.jobs.held = set()
    assert {problem.name for problem in await world.vitals.unready()} == {"acme", "globex"}


async def test_a_poll_in_the_future_is_not_ready(world: World) -> None:
    """An org whose last poll is in the future is not ready, because its lag is unknown."""
    world.poll("acme", ago=-timedelta(hours=3))
    world.poll("globex")

    (problem,) = await world.vitals.unready()

    assert problem.name == "acme"
    assert "dated in the future" in problem.problem
    assert (await world.vitals.snapshot()).health["acme"].lag is None


async def test_a_failed_write_makes_the_daemon_unready(world: World) -> None:
    """A failed write makes the daemon unready until a write succeeds."""
    world.poll("acme")
    world.poll("globex")
    world.trouble.failed(StoreError("the database refused: disk full"))

    assert await world.vitals.unready() == [
        Problem(what="database", problem="the database refused: disk full")
    ]
    assert not (await world.vitals.snapshot()).database_works
    world.trouble.wrote()
    assert await world.vitals.unready() == []


async def test_an_unresponsive_database_delays_no_answer(world: World) -> None:
    """If the database doesn't answer, readiness and metrics answer at the deadline and share one read. Health reads nothing."""
    world.vitals._read_within_s = 0.2
    release = threading.Event()
    stuck = [
        asyncio.create_task(world.executor.run(_blocked(release))) for _ in range(world.database.connections)
    ]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*(world.vitals.unready() for _ in range(20)))
            snapshot = await world.vitals.snapshot()
        assert world.vitals.unhealthy() == []
        assert {problems[0].what for problems in answers} == {"database"}
        assert "no answer within" in answers[0][0].problem
        assert (snapshot.gauges, snapshot.database_works) == (None, False)
        assert world.executor._threads._work_queue.qsize() <= 1
    finally:
        release.set()
        await asyncio.gather(*stuck)


async def test_the_database_is_read_at_most_once_a_second(world: World) -> None:
    """However often somebody asks, the database is read at most once a second."""
    first = await world.vitals.snapshot()
    world.clock_s += 0.9
    assert (await world.vitals.snapshot()).gauges is first.gauges
    world.clock_s += 0.2
    assert (await world.vitals.snapshot()).gauges is not first.gauges


async def test_a_poll_that_does_not_end_is_unhealthy(world: World) -> None:
    """The daemon is unhealthy if a poll doesn't end, because only a restart can fix it."""
    world.jobs.stuck_orgs = ["acme"]

    (problem,) = world.vitals.unhealthy()

    assert (problem.what, problem.name) == ("poll", "acme")


async def test_a_snapshot_has_the_numbers_of_the_database(world: World) -> None:
    """The outbox, the size of the database and the age of evidence."""
    world.poll("acme", ago=timedelta(seconds=70))
    snapshot = await world.vitals.snapshot()
    gauges = snapshot.gauges

    assert gauges is not None
    assert gauges.outbox == {NotificationState.PENDING: 0, NotificationState.DEAD: 0}
    assert gauges.space.used > 50_000
    assert (gauges.space.free is None) == world.database.shared
    lag = snapshot.health["acme"].lag
    assert lag is not None
    assert timedelta(seconds=70) <= lag < timedelta(seconds=90)
    assert snapshot.health["globex"].lag is None
    assert snapshot.evidence.keys() == {"relays"}
    with suppress(OSError):
        (Path(world.app.source).parent / "relays.csv").unlink()
    assert (await world.vitals.snapshot()).evidence == {}
