"""Each fault of an org: it is retried with increasing delays and logged once, and nothing is lost or duplicated."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from oktawatch.detection.registry import build_rules
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pipeline import Watch
from oktawatch.engine.poll import Poller
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.polling import OrgPolling
from oktawatch.simulator import SimulatedOrg, faults, serve
from oktawatch.store.orgs import register_orgs
from oktawatch.store.status import org_statuses
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.client import LogClient
from tests.support.databases import ORG, create_schema, rows
from tests.support.faults import TOKEN
from tests.support.logclient import event
from tests.support.virtual import VirtualTime

INTERVAL = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
TRIES = 6
QUICKLY = [0.5, 1, 2, 4, 5, 5]
"""Minutes between tries of what passes."""
SLOWLY = [2, 4, 8, 15, 15, 15]
"""The bound of delays for failures that need a person."""

PASSING = {
    "unavailable": [
        faults.reset(), faults.close(), faults.timed_out(), faults.html(502), faults.html(504), faults.read_only(),
        faults.bare(503),
    ],
    "timed_out": [faults.hang(), faults.stall()],
    "rate_limited": [faults.bare(429), faults.too_many_requests(), faults.concurrent()],
    "broken_transfer": [
        faults.redirect(), faults.login_page(), faults.empty(), faults.not_a_list(), faults.cut_off(),
        faults.cut_short(), faults.longer_than_declared(), faults.shorter_than_declared(), faults.elsewhere(),
        faults.unlinked(), faults.strip_links(), faults.bomb(),
    ],
}  # fmt: skip
PATIENCE = 20.0
SHORT_PATIENCE = 1.0
"""The timeout of requests that hang. A busy machine must not look like one."""
LASTING = {"token_refused": [faults.refused_token()], "permission_missing": [faults.no_permission()]}
SURVIVED = [
    faults.refused_cursor(), faults.short(), faults.repeat(), faults.overlap(), faults.contradict(), faults.circle(),
    faults.self_linked(), faults.hollow(), faults.cap(),
]  # fmt: skip


class Watched:
    """An org and its polling, in virtual time."""

    def __init__(self, name: str, time: VirtualTime, *, patience: float = PATIENCE) -> None:
        """``patience``: the seconds, of real time, after which a request that hangs is given up."""
        self.name = name
        self._patience = patience
        self.org = SimulatedOrg(token=TOKEN, now=time)
        self.persisted = 0
        self._time = time

    def happen(self, count: int) -> None:
        """Generate sign-ins, at most one a second."""
        for _ in range(count):
            self._time.now += timedelta(seconds=1)
            self.persisted += 1
            self.org.persist(event(self.persisted, self._time.now, securityContext={"isProxy": True}))

    def polling(self, url: str, database: DatabaseExecutor) -> OrgPolling:
        """Create the poller of the org."""
        client = LogClient(
            OrgAccess(self.name, url, TOKEN), budget=self._time.budget(), timeout=self._patience
        )
        watch = Watch(org=self.name, rules=build_rules({}, read_file=lambda _path: ""))
        poller = Poller(
            client, database, watch, page_size=1000, initial_lookback=timedelta(hours=1), now=self._time
        )
        self.close = client.close
        return OrgPolling(
            self.name,
            poller.round,
            database,
            interval=INTERVAL,
            database_trouble=DatabaseTrouble(lost=lambda: None),
            enqueued=lambda: None,
            holds=lambda: True,
            now=self._time,
        )


@pytest.fixture
def time() -> VirtualTime:
    """Return a clock that advances only while the program sleeps."""
    return VirtualTime()


@pytest.fixture
async def database(tmp_path: Path, time: VirtualTime) -> AsyncIterator[DatabaseExecutor]:
    """Open a database that knows the orgs."""
    executor = DatabaseExecutor(f"sqlite:///{tmp_path / 'oktawatch.db'}", create=True)
    await executor.run(create_schema)
    await executor.run(register_orgs, [ORG, "globex"], now=time())
    yield executor
    executor.close()


def _found(database: DatabaseExecutor, org: str) -> tuple[list[str], list[str]]:
    """Return the uuids of the stored events, and those of the matches."""
    events = [row["uuid"] for row in rows(database.database, "events") if row["org"] == org]
    matches = [row["event_uuid"] for row in rows(database.database, "matches") if row["org"] == org]
    return sorted(events), sorted(matches)


def _name(value: object) -> str | None:
    return getattr(value, "name", None)


def test_every_fault_of_the_simulated_org_is_tested() -> None:
    """This module has an expected result for each fault of the simulated org."""
    here = [*SURVIVED, *(fault for some in (PASSING | LASTING).values() for fault in some)]
    assert {fault.name for fault in here} == {fault.name for fault in faults.every()} | {"hang", "stall"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(fault, reason) for reason, some in (PASSING | LASTING).items() for fault in some],
    ids=_name,
)
async def test_a_fault_is_logged_and_retried_until_it_ends(
    time: VirtualTime, database: DatabaseExecutor, fault: faults.Fault, reason: str
) -> None:
    """A fault is logged when it begins and ends, is retried with bounded delays, and does not affect the other org."""
    patience = SHORT_PATIENCE if reason == "timed_out" else PATIENCE
    bad, good = Watched(ORG, time, patience=patience), Watched("globex", time)
    delays = []
    async with serve(bad.org) as bad_url, serve(good.org) as good_url:
        failing, fine = bad.polling(bad_url, database), good.polling(good_url, database)
        bad.happen(3)
        assert await failing.round() is None
        bad.org.faults.some(1, [fault], seed=1)
        with capture_logs() as logs:
            for _ in range(TRIES):
                bad.happen(2)
                good.happen(1)
                delay = await failing.round()
                assert delay is not None
                delays.append(delay)
                assert await fine.round() is None
                time.now += delay
            (status, _) = org_statuses(database.database)
            assert status.last_error is not None
            bad.org.faults.clear()
            for _ in range(2):
                assert await failing.round() is None
        await bad.close()
        await good.close()
    expected = [minutes * MINUTE for minutes in (SLOWLY if reason in LASTING else QUICKLY)]
    assert all(0.75 * wait <= delay <= 1.25 * wait for delay, wait in zip(delays, expected, strict=True))
    lines = [line for line in logs if line["event"].startswith("poll_")]
    assert [(line["event"], line["org"]) for line in lines] == [("poll_failed", ORG), ("poll_recovered", ORG)]
    assert (lines[0]["reason"], lines[1]["reasons"]) == (reason, {reason: TRIES})
    (status, _) = org_statuses(database.database)
    assert status.last_error is None
    for watched in (bad, good):
        every = sorted(f"u-{number}" for number in range(1, watched.persisted + 1))
        assert _found(database, watched.name) == (every, every)


@pytest.mark.parametrize("fault", SURVIVED, ids=_name)
async def test_an_unusual_response_is_no_failure(
    time: VirtualTime, database: DatabaseExecutor, fault: faults.Fault
) -> None:
    """An unusual response costs at most an additional request."""
    watched = Watched(ORG, time)
    async with serve(watched.org) as url:
        polling = watched.polling(url, database)
        watched.org.faults.some(1, [fault], seed=1)
        for _ in range(TRIES):
            watched.happen(5)
            assert await polling.round() is None
            time.now += INTERVAL
        watched.org.faults.clear()
        for _ in range(2):
            assert await polling.round() is None
            time.now += INTERVAL
        await watched.close()
    every = sorted(f"u-{number}" for number in range(1, watched.persisted + 1))
    assert _found(database, ORG) == (every, every)
