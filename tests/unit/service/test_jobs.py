"""The scheduled jobs, their order, and the watchdog's job."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from oktawatch import config
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.process_files import process_path
from oktawatch.model.timestamps import utc_now
from oktawatch.service.alarm_file import AlarmFile
from oktawatch.service.app import Application
from oktawatch.service.counters import Counters
from oktawatch.service.database import open_database, prepare_database
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.database_watch import DatabaseWatch
from oktawatch.service.jobs import Jobs
from oktawatch.service.presence import Presence
from oktawatch.service.systemd import Systemd
from oktawatch.store import tables
from oktawatch.store.database import Database
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.priority import Priority
from tests.support.waiting import eventually

PATIENCE = timedelta(seconds=4)


class Silent:
    """An org that never answers."""

    def __init__(self, access: OrgAccess, *, budget: RateBudget) -> None:
        self.access = access

    async def page(self, query: str, priority: Priority = Priority.POLL) -> Page:
        """Hang."""
        await asyncio.Event().wait()
        raise AssertionError(query)


class Manager(Systemd):
    """A fake of systemd that counts watchdog messages."""

    def __init__(self) -> None:
        super().__init__(watchdog=timedelta(milliseconds=20))
        self.fed = 0

    def alive(self) -> None:
        """Count."""
        self.fed += 1


Make = Callable[[int], Awaitable[tuple[Jobs, Manager]]]


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Make]:
    """Yield the jobs of a number of orgs, none of which answers."""
    async with AsyncExitStack() as left:

        async def make(count: int) -> tuple[Jobs, Manager]:
            orgs = "".join(
                f'[[orgs]]\nname = "org{n}"\nurl = "https://org{n}.okta.com"\ntoken = "00invented"\n'
                for n in range(count)
            )
            file = tmp_path / "oktawatch.toml"
            file.write_text(orgs, "utf-8")
            settings = config.load(file, environ={})
            app = Application.build(settings)
            database = open_database(app)
            left.callback(database.close)
            await prepare_database(app, database)
            manager = Manager()
            presence = Presence("", database.now)
            alarm_file = AlarmFile(process_path(database.database, "alarm"))
            left.callback(alarm_file.close)
            guard = DatabaseWatch(
                database,
                DatabaseTrouble(lost=lambda: None),
                app.channels,
                alarm_file=alarm_file,
                write=presence.write,
                after=app.silence_after,
            )
            watches = {org: Watch(org=org, rules=app.rules) for org in app.org_tags}
            jobs = Jobs(
                app,
                database,
                guard,
                manager,
                Silent,
                [],
                watches,
                presence=presence,
                counters=Counters(),
            )
            jobs.schedule.start()
            left.push_async_callback(jobs.schedule.stop, PATIENCE)
            return jobs, manager

        yield make


async def test_the_first_polls_of_many_orgs_are_spread(watch: Make) -> None:
    """The first polls of 200 orgs are spread over half a minute, in the order of the configuration."""
    jobs, _ = await watch(200)
    now = utc_now()

    due = [jobs.schedule._scheduler.get_job(f"poll:org{n}").next_run_time for n in range(1, 200)]

    assert due[10:] == sorted(due[10:])
    assert timedelta(seconds=25) < due[-1] - now < timedelta(seconds=31)


async def test_the_watchdog_is_fed_while_an_org_hangs(watch: Make) -> None:
    """A slow org does not stop the watchdog from being fed."""
    _, manager = await watch(2)

    await eventually(lambda: manager.fed >= 3)


async def test_a_stuck_round_stops_feeding_the_watchdog(watch: Make) -> None:
    """The watchdog is not fed while a round is stuck, and the log names its org."""
    jobs, manager = await watch(2)
    await eventually(lambda: manager.fed >= 1)

    jobs._watchdog._clock = lambda: time.monotonic() + 11 * 60
    with capture_logs() as logs:
        fed = manager.fed
        await eventually(lambda: any(line["event"] == "polls_stuck" for line in logs))

    assert manager.fed == fed
    assert logs[0]["orgs"] == ["org0", "org1"]


async def test_a_dead_scheduler_stops_feeding_the_watchdog(watch: Make) -> None:
    """If the scheduler dies, the watchdog is no longer fed."""
    jobs, manager = await watch(1)
    await eventually(lambda: manager.fed >= 1)

    jobs.schedule._scheduler.pause()
    await asyncio.sleep(0)
    fed = manager.fed
    await asyncio.sleep(0.1)

    assert manager.fed == fed


async def test_expired_rows_are_pruned_every_hour(watch: Make, tmp_path: Path) -> None:
    """Expired rows are pruned every hour, and for the first time some minutes after the start."""
    jobs, _ = await watch(1)
    job = jobs.schedule._scheduler.get_job("pruning")
    assert job.trigger.interval == timedelta(hours=1)
    assert timedelta(minutes=4) < job.next_run_time - utc_now() < timedelta(minutes=6)

    old = {"org": "org0", "published": utc_now() - timedelta(days=31), "uuid": "old"}
    database = Database(f"sqlite:///{tmp_path / 'oktawatch.db'}")
    with closing(database), database.write() as connection:
        connection.execute(insert(tables.events).values(old))
    with capture_logs() as logs:
        jobs._okta_time = utc_now()
        jobs.schedule.again("pruning")
        await eventually(lambda: any(line["event"] == "pruned" for line in logs))

    assert [line["events"] for line in logs if line["event"] == "pruned"] == [1]
