"""`run --once` polls every simulated org once, reports those that failed, and duplicates nothing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from structlog.testing import capture_logs

from oktawatch import config
from oktawatch.config import ConfigError, Settings
from oktawatch.engine.deliver import LEASE
from oktawatch.model.timestamps import utc_now
from oktawatch.service.app import Application
from oktawatch.service.database import open_database
from oktawatch.service.file_lock import exclusive_lock
from oktawatch.service.run_once import OnceResult, run_once
from oktawatch.simulator import SimulatedOrg, serve
from oktawatch.store.database import Database
from oktawatch.store.errors import StoreError
from oktawatch.store.outbox import claim
from oktawatch.store.status import org_statuses
from tests.support import databases
from tests.support.databases import rows
from tests.support.http import Answer, listening
from tests.support.logclient import NOW, TOKEN, Clock, event
from tests.support.outbox import mark_failed, put, sign_in
from tests.support.places import Kind, Place, place_of
from tests.support.waiting import eventually

Load = Callable[..., Settings]


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with three pages of sign-ins, one in ten of them through an anonymizer."""
    org = SimulatedOrg(now=Clock(), token=TOKEN)
    for number in range(25):
        org.persist(event(number, NOW, securityContext={"isProxy": number % 10 == 0}))
    return org


@pytest.fixture
def load(place: Place) -> Load:
    """Load a configuration with orgs given as ``name=(url, token)``."""
    return _loading(place)


@pytest.fixture
def load_file(tmp_path: Path) -> Iterator[Load]:
    """Load a configuration with an SQLite file."""
    with place_of(Kind.SQLITE, tmp_path) as file:
        yield _loading(file)


def _loading(place: Place) -> Load:
    def from_orgs(**orgs: tuple[str, str]) -> Settings:
        text = f'[database]\nurl = "{place.url}"\n[poll]\npage_size = 10\ninitial_lookback = "90d"\n'
        for name, (url, token) in orgs.items():
            text += f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{token}"\n'
        file = place.folder / "oktawatch.toml"
        file.write_text(text, "utf-8")
        return config.load(file, environ={})

    return from_orgs


async def _run(settings: Settings) -> tuple[OnceResult, list[str]]:
    with capture_logs() as logs:
        result = await run_once(Application.build(settings))
    return result, [line["event"] for line in logs]


async def test_a_run_reads_every_page_and_sends_every_alert(load: Load, org: SimulatedOrg) -> None:
    """One run reads every page and sends every alert, and a second run changes nothing."""
    async with serve(org) as url:
        settings = load(acme=(url, TOKEN))
        first, output = await _run(settings)
        second, again = await _run(settings)

    assert first.orgs[0].result is not None
    assert (first.orgs[0].result.new_events, first.orgs[0].result.matches, first.exit_code) == (25, 3, 0)
    assert output.count("alert_opened") == first.delivered == first.orgs[0].result.alert_count > 0
    assert first.undelivered == 0
    assert second.orgs[0].result is not None
    assert (second.orgs[0].result.new_events, second.delivered, second.exit_code) == (0, 0, 0)
    assert "alert_opened" not in again


AWAY = '[[notifiers]]\ntype = "webhook"\nurl = "http://127.0.0.1:9/hook"\n'


def _with_notifier(place: Place, notifier: str) -> Settings:
    file = place.folder / "oktawatch.toml"
    file.write_text(file.read_text("utf-8") + notifier, "utf-8")
    return config.load(file, environ={})


async def test_a_failed_delivery_makes_the_run_exit_with_1(
    load: Load, org: SimulatedOrg, place: Place
) -> None:
    """A run exits with 1 if a delivery failed in it, or still waits for its retry."""
    async with serve(org) as url:
        load(acme=(url, TOKEN))
        settings = _with_notifier(place, AWAY)
        first, output = await _run(settings)
        second, _ = await _run(settings)

    assert (first.delivered, first.undelivered, first.errors, first.exit_code) == (0, 1, [], 1)
    assert "delivery_failed" in output
    assert (second.undelivered, second.exit_code) == (1, 1)


@pytest.mark.parametrize("answers", [(Answer(410),), (Answer(500), Answer(204))])
async def test_a_dead_letter_makes_only_its_own_run_fail(
    load: Load, org: SimulatedOrg, place: Place, answers: tuple[Answer, ...]
) -> None:
    """A dead letter makes only its own run exit with 1, and a retry that succeeds makes no later run do so."""
    async with serve(org) as url, listening(*answers) as receiver:
        load(acme=(url, TOKEN))
        settings = _with_notifier(place, f'[[notifiers]]\ntype = "webhook"\nurl = "{receiver.url}"\n')
        first, _ = await _run(settings)
        place.run(
            "UPDATE notifications SET next_attempt_at = '2020-01-01T00:00:00.000Z' WHERE state = 'pending'"
        )
        second, _ = await _run(settings)

    assert (first.exit_code, second.exit_code) == (1, 0)


@pytest.mark.parametrize("failed_before", [False, True])
async def test_an_attempt_of_another_process_is_no_failure(
    load: Load, place: Place, *, failed_before: bool
) -> None:
    """A run does not report a notification that another process is sending, for the first time or again."""
    async with serve(SimulatedOrg(now=Clock(), token=TOKEN)) as url:
        load(acme=(url, TOKEN))
        settings = _with_notifier(place, AWAY)
        with databases.open_database(place) as database:
            put(database, sign_in(1), notifiers=("webhook",), now=utc_now())
            if failed_before:
                failed = claim(database, "webhook", now=utc_now(), lease=LEASE)
                assert failed is not None
                mark_failed(database, failed.id, error="no answer", next_attempt_at=utc_now(), now=utc_now())
            assert claim(database, "webhook", now=utc_now(), lease=LEASE) is not None
        result, _ = await _run(settings)

    assert (result.undelivered, result.errors, result.delivery_failed) == (1, [], False)


async def test_a_failing_org_does_not_stop_the_others(load: Load, org: SimulatedOrg, place: Place) -> None:
    """An org with a refused token makes the run exit with 1, and the other org is read and notified."""
    async with serve(org) as url:
        result, output = await _run(load(globex=(url, "00another"), acme=(url, TOKEN)))

    (error,) = result.errors
    assert error.startswith("Okta refuses the token (globex, ")
    assert result.exit_code == 1
    assert [outcome.result is None for outcome in result.orgs] == [True, False]
    assert "alert_opened" in output
    database = Database(place.url)
    kept = {status.org: status.last_error for status in org_statuses(database)}
    database.close()
    assert kept == {"acme": None, "globex": error}


async def test_a_failure_is_recorded_with_the_shared_time(
    load: Load, org: SimulatedOrg, place: Place
) -> None:
    """On Postgres, a machine whose clock is a day ahead records a failure with the server's time."""
    async with serve(org) as url:
        settings = load(acme=(url, "00another"))
        with time_machine.travel(utc_now() + timedelta(days=1)):
            await _run(settings)

    database = Database(place.url)
    (failed,) = rows(database, "orgs")
    database.close()
    late = failed["last_error_at"] - utc_now() > timedelta(hours=1)
    assert late is (place.kind is Kind.SQLITE)


async def test_a_run_beside_a_daemon_is_refused(load_file: Load, org: SimulatedOrg) -> None:
    """`run --once` refuses to run while a daemon uses the database, and sends Okta no request."""
    async with serve(org) as url:
        settings = load_file(acme=(url, TOKEN))
        await _run(settings)
        asked = len(org.requests)
        daemon = open_database(Application(settings))
        with exclusive_lock(daemon.database.file), pytest.raises(ConfigError, match="another oktawatch runs"):
            await run_once(Application.build(settings))

    daemon.close()
    assert len(org.requests) == asked


async def test_ctrl_c_does_not_wait_for_a_locked_database(
    load: Load, org: SimulatedOrg, place: Place
) -> None:
    """Ctrl-C doesn't wait for another program's lock, and the page is rolled back."""
    async with serve(org) as url:
        settings = load(acme=(url, TOKEN))
        await _run(settings)
        org.persist(event(100, NOW))
        with place.locked():
            run = asyncio.create_task(run_once(Application.build(settings)))
            await eventually(
                lambda: "oktawatch-database_0" in {thread.name for thread in threading.enumerate()}
            )
            run.cancel()
            done, _ = await asyncio.wait([run], timeout=5)
        ((count,),) = place.ask("SELECT count(*) FROM events")

    assert done == {run}
    assert run.cancelled()
    assert count == 25


async def test_an_unusable_database_is_not_reported_as_an_orgs_failure(
    load_file: Load, org: SimulatedOrg, tmp_path: Path
) -> None:
    """An unusable database raises its own error instead of an error of each org."""
    (tmp_path / "oktawatch.db").unlink()
    (tmp_path / "oktawatch.db").mkdir()
    async with serve(org) as url:
        with pytest.raises(StoreError, match="unable to open database file"):
            await run_once(Application.build(load_file(acme=(url, TOKEN))))

    assert org.requests == []
