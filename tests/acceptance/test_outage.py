"""An org that fails for hours is reported as failing, and the daemon catches up by itself. A quiet night is no failure."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import time_machine

from oktawatch import config
from oktawatch.cli.main import main
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.service.app import Application
from oktawatch.service.database import open_database
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.polling import OrgPolling
from oktawatch.simulator import SimulatedOrg, faults, serve
from oktawatch.store.database import Database
from oktawatch.store.orgs import register_orgs
from oktawatch.systemlog.client import LogClient
from tests.support.databases import create_schema, rows
from tests.support.faults import TOKEN
from tests.support.logclient import event
from tests.support.places import Place
from tests.support.virtual import VirtualTime

INTERVAL = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Alone:
    """A daemon's polling of one org, observed only by `oktawatch status`."""

    def __init__(self, place: Place, url: str, org: SimulatedOrg, time: VirtualTime) -> None:
        self._file = place.folder / "oktawatch.toml"
        self._file.write_text(
            f'[database]\nurl = "{place.url}"\n[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{TOKEN}"\n'
        )
        self._org = org
        self._time = time
        self.happened = 0
        settings = config.load(self._file, environ={})
        app = Application(settings)
        self.database: DatabaseExecutor = open_database(app)
        self.client = LogClient(app.access("acme"), budget=time.budget())
        poller = Poller(
            self.client,
            self.database,
            Watch(org="acme", rules=app.rules, routes=app.routes),
            page_size=1000,
            initial_lookback=HOUR,
            now=time,
            clock=time.monotonic,
        )
        self._polling = OrgPolling(
            "acme",
            poller.round,
            self.database,
            interval=INTERVAL,
            database_trouble=DatabaseTrouble(lost=lambda: None),
            enqueued=lambda: None,
            holds=lambda: True,
            now=time,
            clock=time.monotonic,
        )

    async def prepare(self) -> None:
        """Create the database."""
        await self.database.run(create_schema)
        await self.database.run(register_orgs, ["acme"], now=self._time())

    async def live(self, until: datetime, *, busy: bool = True) -> None:
        """Poll on the daemon's schedule. In a busy org, a sign-in happens before each poll."""
        while self._time.now < until:
            if busy:
                self.happened += 1
                sign_in = event(self.happened, self._time.now, securityContext={"isProxy": True})
                self._org.persist(sign_in)
            self._time.now += await self._polling.round() or INTERVAL

    @property
    def events(self) -> list[str]:
        """Return the stored events."""
        return sorted(row["uuid"] for row in rows(self.database.database, "events"))

    def status(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        """Run `oktawatch status` at this time; return its exit code and the org's line."""
        capsys.readouterr()
        # The database's clock as well: on Postgres it is the server's, which a test can't set.
        travelled = mock.patch.object(Database, "now", return_value=self._time.now)
        with time_machine.travel(self._time.now, tick=False), travelled:
            code = main(["status", "--json", "--config", str(self._file)])
        (org,) = json.loads(capsys.readouterr().out)["orgs"]
        return code, org


@pytest.fixture
def time() -> VirtualTime:
    """Return a clock that only the test advances."""
    return VirtualTime()


@pytest.fixture
def org(time: VirtualTime) -> SimulatedOrg:
    """Return an org."""
    return SimulatedOrg(token=TOKEN, now=time)


@pytest.fixture
async def alone(place: Place, org: SimulatedOrg, time: VirtualTime) -> AsyncIterator[Alone]:
    """Yield a daemon that polls the org."""
    async with serve(org) as url:
        alone = Alone(place, url, org, time)
        await alone.prepare()
        yield alone
        await alone.client.close()
        alone.database.close()


@pytest.mark.parametrize(
    ("fault", "problem_part"),
    [
        (faults.refused_token(), "Okta refuses the token"),
        (faults.no_permission(), "the token isn't allowed to read the System Log"),
        (faults.html(502), "Okta has a fault or is under maintenance"),
        (faults.login_page(), "not a page of the System Log"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_an_hour_of_failures_is_reported_and_caught_up(
    alone: Alone,
    org: SimulatedOrg,
    time: VirtualTime,
    capsys: pytest.CaptureFixture[str],
    fault: faults.Fault,
    problem_part: str,
) -> None:
    """During the failure, `status` exits with 1 and shows the reason. Once everything was read, it exits with 0."""
    await alone.live(time.now + 10 * MINUTE)
    assert alone.status(capsys)[0] == 0

    ends = time.now + HOUR
    org.faults.between(time.now, ends, fault)
    await alone.live(time.now + 10 * MINUTE)
    code, status = alone.status(capsys)
    assert (code, status["failing"], status["behind"]) == (1, True, True)
    assert any(problem_part in problem for problem in status["problems"])
    assert any("no poll has caught up for" in problem for problem in status["problems"])

    await alone.live(ends + 20 * MINUTE)
    code, status = alone.status(capsys)
    assert (code, status["failing"], status["behind"], status["problems"]) == (0, False, False, [])
    assert alone.events == sorted(f"u-{number}" for number in range(1, alone.happened + 1))
    failed_requests = [one for one in org.requests if one.fault == fault.name]
    assert len(failed_requests) < 25, "retries back off"


async def test_a_quiet_night_is_no_failure(
    alone: Alone, time: VirtualTime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Polls without new events are no failure."""
    await alone.live(time.now + MINUTE)
    for _ in range(8):
        await alone.live(time.now + HOUR, busy=False)
        code, status = alone.status(capsys)
        assert (code, status["ok"], status["problems"]) == (0, True, [])


async def test_an_org_without_a_daemon_is_behind(
    alone: Alone, time: VirtualTime, capsys: pytest.CaptureFixture[str]
) -> None:
    """An org is behind after three intervals and a minute, and `status` warns before Okta deletes unread events."""
    await alone.live(time.now + MINUTE)
    time.now += 3 * INTERVAL + MINUTE - INTERVAL
    assert alone.status(capsys)[0] == 0
    time.now += 2 * INTERVAL
    code, status = alone.status(capsys)
    assert (code, status["failing"], status["behind"]) == (1, False, True)
    assert not any("Okta keeps events for 90 days" in problem for problem in status["problems"])
    time.now += timedelta(days=80)
    assert any("Okta keeps events for 90 days" in problem for problem in alone.status(capsys)[1]["problems"])
