"""Updates run when they are due, survive a crash or a stop, and reach the daemon's rules."""

import asyncio
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from oktawatch.detection.evidence import Evidence
from oktawatch.engine.evidence_sources import EvidenceSources
from oktawatch.engine.evidence_updates import (
    EvidenceUpdateError,
    FetchedEvidence,
    FetchedState,
    UpdateRunningError,
    folder_name,
)
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from oktawatch.service.evidence import EvidenceUpdate
from tests.support.fetched_evidence import DAY, KEY, NEW, NOW, size_of, source_of, update
from tests.support.publisher import Publisher, status
from tests.unit.detection.events import event


async def test_fetched_files_are_readable_only_by_their_owner(publisher: Publisher, tmp_path: Path) -> None:
    """The folder and its files have the permissions of other state, and nothing else is left in it."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish(NEW)
    await update(source)
    folder = source.file.path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} == {"lock", "state.json", source.state().file}


async def test_a_crash_at_any_moment_leaves_a_complete_file_with_its_etag(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is copied before and after each rename, which is what a killed process would leave."""
    folder = tmp_path / "live"
    source = source_of(publisher, folder)
    await update(source)
    publisher.publish(NEW, etag='"two"')
    copies: list[Path] = []
    rename = Path.replace

    def copy() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(folder, copies[-1])

    def copying(path: Path, target: Path) -> Path:
        copy()
        renamed = rename(path, target)
        copy()
        return renamed

    monkeypatch.setattr(Path, "replace", copying)
    assert await update(source, DAY)
    monkeypatch.undo()

    assert len(copies) == 6, "the attempt's state, the file, the new state"
    etag_of = {10: '"one"', 11: '"two"'}
    sizes = []
    for left in copies:
        after_crash = source_of(publisher, left)
        size = size_of(after_crash)
        assert size in etag_of
        sizes.append(size)
        await update(after_crash, 2 * DAY)
        assert publisher.requests[-1]["If-None-Match"] == etag_of[size]
        assert size_of(after_crash) == 11
        names = {path.name for path in after_crash.file.path.iterdir()}
        assert size == 11 or names == {"lock", "state.json", after_crash.state().file}
    assert sizes == [10, 10, 10, 10, 10, 11]


async def test_concurrent_updates_fetch_once(publisher: Publisher, tmp_path: Path) -> None:
    """Of two updates at once, one fetches and the other does nothing."""
    results = await asyncio.gather(
        *(update(source_of(publisher, tmp_path)) for _ in range(2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [bool, UpdateRunningError]
    assert len(publisher.requests) == 1


async def test_a_changed_url_does_not_use_the_previous_file(publisher: Publisher, tmp_path: Path) -> None:
    """Neither the file nor the ETag of the previous URL is used."""
    await update(source_of(publisher, tmp_path))
    other = source_of(publisher, tmp_path, query="?list=other")
    assert size_of(other) is None
    assert other.is_due(NOW)
    publisher.publish("192.0.2.1\n", etag='"one"')
    assert await update(other)
    assert "If-None-Match" not in publisher.requests[-1]
    assert size_of(other) == 1


@given(st.lists(st.text(min_size=1, max_size=100), min_size=2, max_size=2, unique=True))
def test_each_source_has_its_own_folder(names: list[str]) -> None:
    """Any two names have different folders within the folder of evidence."""
    folder, other_folder = map(folder_name, names)
    assert folder.casefold() != other_folder.casefold()
    assert Path("evidence", folder).resolve().parent == Path("evidence").resolve()
    assert len(folder.encode()) < 100


async def test_no_written_file_contains_the_url(publisher: Publisher, tmp_path: Path) -> None:
    """The state identifies the URL by its digest."""
    source = source_of(publisher, tmp_path)
    await update(source)
    written = b"".join(path.read_bytes() for path in source.file.path.iterdir())
    assert KEY.encode() not in written
    assert b"127.0.0.1" not in written
    assert KEY not in repr(source)


async def test_a_source_is_due_after_its_interval_and_failures_delay_it(
    publisher: Publisher, tmp_path: Path
) -> None:
    """A source is due at once, then after the refresh interval. After failures, the delay doubles from five minutes."""
    source = source_of(publisher, tmp_path)
    assert source.is_due(NOW)
    publisher.respond = status(500)
    moment, waits = NOW, []
    for _ in range(11):
        with pytest.raises(EvidenceUpdateError):
            await source.update(now=lambda at=moment: at)  # type: ignore[misc]  # mypy infers no type for a default
        wait = timedelta()
        while not source.is_due(moment + wait):
            wait += timedelta(minutes=5)
        waits.append(wait // timedelta(minutes=5))
        moment += wait
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 288, 288]
    publisher.respond = None
    await source.update(now=lambda: moment)
    assert not source.is_due(moment + DAY - timedelta(seconds=1))
    assert source.is_due(moment + DAY)
    assert source.is_due(moment - timedelta(days=1)), "the clock was a day ahead at the last attempt"


async def test_an_attempt_that_killed_the_process_counts_as_a_failure(
    publisher: Publisher, tmp_path: Path
) -> None:
    """An attempt in which the daemon is killed counts as a failure; one that is cancelled by a stop doesn't."""
    source = source_of(publisher, tmp_path)
    counted: list[bool] = []

    async def look(_request: web.BaseRequest) -> web.StreamResponse:
        counted.append(source_of(publisher, tmp_path).is_due(NOW + timedelta(minutes=4)))
        task.cancel()
        return web.Response()

    publisher.respond = look
    task = asyncio.create_task(update(source))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted == [False]
    assert source.is_due(NOW)


@pytest.mark.parametrize("step", ["_accept", "_write_state"])
async def test_a_stop_waits_until_the_file_is_replaced(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """An update that is cancelled while a thread replaces the file ends with the new file in use."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish(NEW, etag='"two"')
    begun, loop, go_on = asyncio.Event(), asyncio.get_running_loop(), threading.Event()
    run = getattr(FetchedEvidence, step)

    def waiting(self: FetchedEvidence, *args: object) -> object:
        if step == "_accept" or (isinstance(args[0], FetchedState) and args[0].size == 11):
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(10)
        return run(self, *args)

    monkeypatch.setattr(FetchedEvidence, step, waiting)
    task = asyncio.create_task(update(source, DAY))
    await begun.wait()
    task.cancel()
    loop.call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert size_of(source) == 11
    assert source.inspect(NOW + DAY).word == "ok"
    assert not source.is_due(NOW + DAY)


async def test_concurrent_reloads_keep_all_sources_in_order(publisher: Publisher, tmp_path: Path) -> None:
    """Each thread publishes what all of them have loaded, in the order of the configuration."""
    fetched = [source_of(publisher, tmp_path / str(number), name=f"s{number}") for number in range(8)]
    evidence = Evidence()
    sources = EvidenceSources(evidence, fetched)
    for source in fetched:
        await update(source)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(sources.reload, reversed(fetched)))
    assert [source.name for source in evidence.sources] == [f"s{number}" for number in range(8)]


def is_known(evidence: Evidence) -> bool:
    """Return whether the evidence knows the address of an event as an exit of Tor."""
    return evidence.classify(event()).kind is Kind.TOR


async def test_the_daemon_fetches_missing_sources_and_uses_refreshed_ones(
    publisher: Publisher, tmp_path: Path
) -> None:
    """A missing source is fetched at once; a refreshed one is used in the next classification."""
    clock = [NOW]
    source, evidence = source_of(publisher, tmp_path), Evidence()
    sources = EvidenceSources(evidence, [source])
    with capture_logs() as logs:
        sources.load()
        job = EvidenceUpdate(source, sources, now=lambda: clock[0])
        await job.round()
        assert [evidence.sources[0].size, is_known(evidence)] == [10, False]
        publisher.publish(NEW, etag='"two"')
        for minutes in (1, 60, 24 * 60 - 1):
            clock[0] = NOW + timedelta(minutes=minutes)
            await job.round()
        assert [len(publisher.requests), is_known(evidence)] == [1, False]
        clock[0] = NOW + DAY
        await job.round()
        assert [len(publisher.requests), is_known(evidence)] == [2, True]
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == [
        "evidence_missing",
        "evidence_updated",
        "evidence_updated",
    ]


async def test_a_failing_source_is_logged_once_and_stays_in_use(publisher: Publisher, tmp_path: Path) -> None:
    """The log has the failure and the recovery."""
    clock = [NOW]
    publisher.publish(NEW)
    source, evidence = source_of(publisher, tmp_path), Evidence()
    sources = EvidenceSources(evidence, [source])
    job = EvidenceUpdate(source, sources, now=lambda: clock[0])
    await job.round()
    publisher.publish("<html>")
    with capture_logs() as logs:
        for _ in range(300):
            clock[0] += timedelta(minutes=10)
            await job.round()
        assert is_known(evidence)
        publisher.publish(NEW)
        clock[0] += DAY
        await job.round()
    assert [(line["event"], line["source"]) for line in logs] == [
        ("evidence_update_failed", "exits"),
        ("evidence_update_recovered", "exits"),
    ]
    assert logs[0]["error"] == "the server sent a web page instead of the file"
    assert len(publisher.requests) < 15


async def test_a_file_that_another_process_fetched_is_used(publisher: Publisher, tmp_path: Path) -> None:
    """`oktawatch evidence update` reaches the daemon within a round, without a request of its own."""
    source, evidence = source_of(publisher, tmp_path), Evidence()
    sources = EvidenceSources(evidence, [source])
    job = EvidenceUpdate(source, sources, now=lambda: NOW)
    await job.round()
    publisher.publish(NEW)
    await update(source_of(publisher, tmp_path))
    await job.round()
    assert [len(publisher.requests), is_known(evidence)] == [2, True]


async def test_no_request_is_made_if_the_folder_cannot_be_written(
    publisher: Publisher, tmp_path: Path
) -> None:
    """No request is made, because an attempt must be recorded first."""
    (tmp_path / "exits").write_text("a file in the place of the folder")
    with pytest.raises(EvidenceUpdateError, match=f"can't write {tmp_path / 'exits'}: "):
        await update(source_of(publisher, tmp_path))
    assert publisher.requests == []


@pytest.mark.parametrize("age_h", [0, 48, 49])
async def test_a_source_is_stale_after_twice_the_refresh_interval(
    publisher: Publisher, tmp_path: Path, age_h: int
) -> None:
    """A source that was not fetched for twice the refresh interval is stale."""
    source = source_of(publisher, tmp_path)
    await update(source)
    assert source.inspect(NOW + timedelta(hours=age_h)).word == ("stale" if age_h > 48 else "ok")
