"""Sources with a URL are fetched over HTTP, never replaced by an unusable file, and intact after a crash."""

import asyncio
import gzip
import io
import shutil
import ssl
import tarfile
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import encode_basic_auth, web
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from pydantic import SecretStr
from structlog.testing import capture_logs

from oktawatch.detection.evidence import Evidence
from oktawatch.engine import evidence_updates
from oktawatch.engine.evidence_files import EvidenceFile
from oktawatch.engine.evidence_sources import EvidenceSources
from oktawatch.engine.evidence_updates import (
    EvidenceUpdateError,
    FetchedEvidence,
    FetchedState,
    UpdateRunningError,
    folder_name,
)
from oktawatch.model.anonymizer_kind import AnonymizerKind as Kind
from oktawatch.notify.channel import DIRECT, Way
from oktawatch.service import download as downloading
from oktawatch.service.download import download
from oktawatch.service.evidence import EvidenceUpdate
from tests.support.certificates import PrivateCa
from tests.support.http import listening
from tests.support.publisher import Publisher, Respond, endless, stalling, status
from tests.unit.detection.events import event

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
KEY = "invented-licence-key"
ADDRESS = "203.0.113.7"
"""The address of the events of these tests."""
OLD = "".join(f"198.51.100.{n}\n" for n in range(10))
NEW = OLD + f"{ADDRESS}\n"


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    """Serve a list of ten addresses."""
    async with listening(receiver=Publisher(OLD, etag='"one"')) as receiver:
        assert isinstance(receiver, Publisher)
        yield receiver


def source_of(
    publisher: Publisher, folder: Path, *, query: str = f"?key={KEY}", **changes: object
) -> FetchedEvidence:
    """Return a source with the publisher's URL, which contains a licence key."""
    url = publisher.url + query
    file = msgspec.structs.replace(
        EvidenceFile(name="exits", path=folder / "exits", kind=Kind.TOR, operator="Tor"), **changes
    )
    limit = evidence_updates.LARGEST[file.format]
    fetch = partial(download, SecretStr(url), way=lambda _: DIRECT, limit=limit)
    return FetchedEvidence(file, refresh=DAY, url=url, fetch=fetch)


async def update(source: FetchedEvidence, after: timedelta = timedelta()) -> bool:
    """Update a source at a time."""
    return await source.update(now=lambda: NOW + after)


def size_of(source: FetchedEvidence) -> int | None:
    """Return the size of the source as it can be loaded."""
    loaded = source.load()
    assert loaded.problem is None
    return None if loaded.source is None else loaded.source.size


async def test_a_list_is_fetched_and_only_fetched_again_when_it_changed(
    publisher: Publisher, tmp_path: Path
) -> None:
    """The second request names the ETag of the first answer; a new list replaces the old one."""
    source = source_of(publisher, tmp_path)
    assert size_of(source) is None
    assert [await update(source), size_of(source)] == [True, 10]
    assert [await update(source, DAY), size_of(source)] == [False, 10]
    publisher.publish(NEW, etag='"two"')
    assert [await update(source, 2 * DAY), size_of(source)] == [True, 11]
    assert [request.get("If-None-Match") for request in publisher.requests] == [None, '"one"', '"one"']
    state = source.inspect(NOW + 2 * DAY)
    assert (state.word, state.size, state.contents) == ("ok", 11, "11 networks")
    assert (state.modified_at, state.checked_at) == (NOW + 2 * DAY, NOW + 2 * DAY)


async def test_only_its_owner_can_read_what_is_fetched(publisher: Publisher, tmp_path: Path) -> None:
    """The folder and its files have the permissions of other state, and nothing else is left in it."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish(NEW)
    await update(source)
    folder = source.file.path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} == {"lock", "state.json", source.state().file}


async def test_a_server_without_etags(publisher: Publisher, tmp_path: Path) -> None:
    """Last-Modified serves as well; without either, the same contents are unchanged."""
    publisher.etag, publisher.last_modified = None, "Tue, 24 Nov 2026 07:00:00 GMT"
    source = source_of(publisher, tmp_path)
    assert [await update(source), await update(source)] == [True, False]
    assert publisher.requests[1]["If-Modified-Since"] == "Tue, 24 Nov 2026 07:00:00 GMT"
    publisher.last_modified = None
    assert await update(source, DAY) is False
    assert source.inspect(NOW + DAY).modified_at == NOW


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the fetched file is empty"),
        ("# nothing\n\n", "the fetched file is empty"),
        ("\n<!DOCTYPE html><html>Sign in</html>", "the server sent a web page instead of the file"),
        (OLD + "nowhere\n", "the fetched file can't be used: line 11: expected an address range"),
        (b"\xff\xfe", "the fetched file can't be used: expected UTF-8 text"),
        (
            "203.0.113.1\n203.0.113.2\n203.0.113.3\n203.0.113.4\n",
            "has shrunk by more than half, from 10 to 4 entries",
        ),
        (gzip.compress(OLD.encode(), mtime=0)[:-9], "can't be used: expected a complete gzip file"),
    ],
)
async def test_a_file_that_must_not_replace_the_present_one(
    publisher: Publisher, tmp_path: Path, content: str | bytes, problem: str
) -> None:
    """An unusable file doesn't replace the current one or its ETag. The state has the reason, and no text of the file."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish(content, etag='"two"')
    with pytest.raises(EvidenceUpdateError, match=problem):
        await update(source, DAY)
    assert size_of(source) == 10
    state = source.inspect(NOW + DAY)
    assert (state.word, state.size, state.checked_at) == ("failing", 10, NOW)
    assert problem in str(state.problem)
    assert "Sign in" not in str(state.problem)
    publisher.publish(OLD, etag='"one"')
    assert await update(source, 2 * DAY) is False
    assert publisher.requests[-1]["If-None-Match"] == '"one"'
    assert source.inspect(NOW + 2 * DAY).word == "ok"


async def test_half_of_the_entries_are_enough(publisher: Publisher, tmp_path: Path) -> None:
    """A list may lose up to half of its entries, and the first list may have any size."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish("".join(f"192.0.2.{n}\n" for n in range(5)))
    assert await update(source)
    assert size_of(source) == 5


async def test_a_shrunken_file_is_accepted_once_the_folder_is_deleted(
    publisher: Publisher, tmp_path: Path
) -> None:
    """A shrunken file is accepted after its folder was deleted, as the error advises."""
    source = source_of(publisher, tmp_path)
    await update(source)
    publisher.publish("192.0.2.1\n")
    with pytest.raises(EvidenceUpdateError, match=f"delete {source.file.path} to accept it"):
        await update(source)
    shutil.rmtree(source.file.path)
    assert await update(source)
    assert size_of(source) == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (status(500), "status 500"),
        (status(404), "status 404"),
        (status(204), "status 204"),
        (status(206), "status 206"),
        (status(302, Location="http://mirror.example.com/exits"), "it redirects to a URL without https"),
        (status(302, Location="file:///etc/passwd"), "it redirects to a URL without https"),
        (status(302, Location="http://["), "no usable answer"),
        (status(302), "more than 5 redirects"),
        (status(307, Location="/again"), "more than 5 redirects"),
        (status(304), "reported an unchanged file"),
    ],
)
async def test_an_answer_without_a_file(
    publisher: Publisher, tmp_path: Path, answer: Respond, problem: str
) -> None:
    """The error has the reason, but not the URL, which contains the licence key."""
    publisher.respond = answer
    source = source_of(publisher, tmp_path)
    with pytest.raises(EvidenceUpdateError, match=problem) as raised:
        await update(source)
    assert KEY not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)
    assert source.inspect(NOW).word == "missing"
    assert problem in str(source.inspect(NOW).problem)


async def test_a_redirect_is_followed(publisher: Publisher, tmp_path: Path) -> None:
    """A redirect is followed with the same conditional headers."""

    async def once(request: web.BaseRequest) -> web.StreamResponse:
        if "key=" in request.path_qs:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        publisher.respond = None
        return await publisher(request)

    publisher.respond = once
    assert await update(source_of(publisher, tmp_path))


async def test_a_password_is_not_sent_to_another_host(tmp_path: Path) -> None:
    """A redirect to another host is followed without the URL's user and password. MaxMind redirects to a storage service."""
    ca = PrivateCa(tmp_path)
    trust = ssl.create_default_context(cafile=ca.file)
    async with listening(receiver=Publisher(OLD), tls=ca.server) as receiver:
        assert isinstance(receiver, Publisher)
        other = receiver.url.replace("127.0.0.1", "localhost")

        async def redirect(_request: web.BaseRequest) -> web.StreamResponse:
            receiver.respond = None
            return web.Response(status=302, headers={"Location": other})

        receiver.respond = redirect
        ways: list[str] = []

        def way(url: SecretStr) -> Way:
            ways.append(url.get_secret_value())
            return Way(trust=trust)

        url = SecretStr(receiver.url.replace("https://", "https://17:invented@"))
        with (tmp_path / "fetched").open("wb") as file:
            await download(url, file, None, way=way, limit=1_000)
    assert (tmp_path / "fetched").read_text() == OLD
    assert [headers.get("Authorization") for headers in receiver.requests] == [
        encode_basic_auth("17", "invented"),
        None,
    ]
    assert [*map(urlsplit, ways)][1].hostname == "localhost", "the proxy is chosen for each host"


@pytest.mark.parametrize("answer", [endless, status(200)], ids=["endless", "gzip bomb"])
async def test_a_body_without_end(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Reading stops at the limit, also if a small compressed body inflates to it."""
    monkeypatch.setitem(evidence_updates.LARGEST, "networks", 1024**2)
    if answer is endless:
        publisher.respond = endless
    else:
        bomb = gzip.compress(b"\n" * 50 * 1024**2)

        async def explode(_request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

        publisher.respond = explode
    source = source_of(publisher, tmp_path)
    with pytest.raises(EvidenceUpdateError, match="larger than 1 MiB"):
        await update(source)
    assert {path.name for path in source.file.path.iterdir()} == {"lock", "state.json"}


async def test_a_gzip_file_that_inflates_to_gigabytes(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size limit applies to the unpacked file."""
    monkeypatch.setitem(evidence_updates.LARGEST, "networks", 1024**2)
    publisher.publish(gzip.compress(b"\n" * 50 * 1024**2))
    with pytest.raises(EvidenceUpdateError, match="can't be used: expected at most 1 MiB"):
        await update(source_of(publisher, tmp_path))


async def test_a_server_that_stalls(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole download has a time limit."""
    monkeypatch.setattr(downloading, "_TIME_LIMIT_S", 0.2)
    publisher.respond = stalling
    with pytest.raises(EvidenceUpdateError, match="no complete answer in time"):
        await update(source_of(publisher, tmp_path))


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A refused connection is an error without the URL."""
    publisher = Publisher()
    publisher.url = "http://127.0.0.1:9/exits"
    with pytest.raises(EvidenceUpdateError, match="can't connect") as raised:
        await update(source_of(publisher, tmp_path))
    assert KEY not in str(raised.value)


def database(networks: int) -> bytes:
    """Return a database in MaxMind's format with a number of networks."""
    writer = MMDBWriter(4, "GeoIP2-Anonymous-IP")
    for number in range(networks):
        writer.insert_network(
            IPSet([f"203.0.{number}.0/24"]), {"is_anonymous": True, "is_tor_exit_node": True}
        )
    with tempfile.NamedTemporaryFile() as file:
        writer.to_db_file(file.name)
        return Path(file.name).read_bytes()


def archive(name: str, content: bytes) -> bytes:
    """Return a compressed archive like MaxMind's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member, text in (("GeoIP2/README.txt", b"x" * 2_000), (f"GeoIP2/{name}", content)):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return file.getvalue()


@pytest.mark.parametrize("packed", ["plain", "gzip", "tar"])
async def test_a_database(publisher: Publisher, tmp_path: Path, packed: str) -> None:
    """A database is accepted uncompressed, compressed, or in an archive like MaxMind's."""
    content = database(100)
    pack: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "tar": partial(archive, "GeoIP2-Anonymous-IP.mmdb"),
    }
    publisher.publish(pack[packed](content))
    source = source_of(publisher, tmp_path, format="mmdb")
    assert await update(source)
    loaded = source.load().source
    assert loaded is not None
    assert [finding.kind for finding in loaded.find("203.0.50.1")] == [Kind.TOR]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (database(0), "the fetched file is empty"),
        (database(10), "has shrunk by more than half"),
        (database(100)[:-500], "expected a database in MaxMind's format"),
        (archive("GeoIP2.csv", b"x"), r"expected a database \(.mmdb\) in the archive"),
        (b"<HTML>", "the server sent a web page instead of the file"),
        (b"nothing", "expected a database in MaxMind's format"),
        (b"", "can't be used"),
    ],
)
async def test_a_database_that_must_not_replace_the_present_one(
    publisher: Publisher, tmp_path: Path, content: bytes, problem: str
) -> None:
    """The same rules apply to databases."""
    publisher.publish(database(100))
    source = source_of(publisher, tmp_path, format="mmdb")
    await update(source)
    publisher.publish(content)
    with pytest.raises(EvidenceUpdateError, match=problem):
        await update(source)
    loaded = source.load().source
    assert loaded is not None
    assert loaded.find("203.0.50.1")


async def test_a_crash_at_any_moment_leaves_a_whole_file_with_its_own_etag(
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


async def test_a_damaged_file_is_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
    """A damaged file is fetched again without conditional headers."""
    source = source_of(publisher, tmp_path)
    await update(source)
    name = source.state().file
    assert name is not None
    (source.file.path / name).write_text("garbage")
    assert source.load().problem == "line 1: expected an address range such as 192.0.2.0/24"
    assert source.load() == (None, None, None)
    assert source.inspect(NOW).word == "missing"
    assert source.is_due(NOW)
    assert await update(source)
    assert "If-None-Match" not in publisher.requests[-1]
    assert size_of(source) == 10


async def test_two_updates_at_once(publisher: Publisher, tmp_path: Path) -> None:
    """Of two updates at once, one fetches and the other does nothing."""
    results = await asyncio.gather(
        *(update(source_of(publisher, tmp_path)) for _ in range(2)), return_exceptions=True
    )
    assert [type(result) for result in results] == [bool, UpdateRunningError]
    assert len(publisher.requests) == 1


async def test_another_url_is_another_source(publisher: Publisher, tmp_path: Path) -> None:
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


async def test_nothing_that_is_written_contains_the_url(publisher: Publisher, tmp_path: Path) -> None:
    """The state identifies the URL by its digest."""
    source = source_of(publisher, tmp_path)
    await update(source)
    written = b"".join(path.read_bytes() for path in source.file.path.iterdir())
    assert KEY.encode() not in written
    assert b"127.0.0.1" not in written
    assert KEY not in repr(source)


async def test_when_a_source_is_due(publisher: Publisher, tmp_path: Path) -> None:
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


async def test_an_attempt_that_ends_the_process_counts(publisher: Publisher, tmp_path: Path) -> None:
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
async def test_a_stop_waits_for_a_step_that_has_begun(
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


async def test_sources_that_change_at_the_same_time(publisher: Publisher, tmp_path: Path) -> None:
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


async def test_the_daemons_rounds(publisher: Publisher, tmp_path: Path) -> None:
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


async def test_a_folder_that_cannot_be_written(publisher: Publisher, tmp_path: Path) -> None:
    """No request is made, because an attempt must be recorded first."""
    (tmp_path / "exits").write_text("a file in the place of the folder")
    with pytest.raises(EvidenceUpdateError, match=f"can't write {tmp_path / 'exits'}: "):
        await update(source_of(publisher, tmp_path))
    assert publisher.requests == []


@pytest.mark.parametrize("age_h", [0, 48, 49])
async def test_a_stale_source(publisher: Publisher, tmp_path: Path, age_h: int) -> None:
    """A source that was not fetched for twice the refresh interval is stale."""
    source = source_of(publisher, tmp_path)
    await update(source)
    assert source.inspect(NOW + timedelta(hours=age_h)).word == ("stale" if age_h > 48 else "ok")
