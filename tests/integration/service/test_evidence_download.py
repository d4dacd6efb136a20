"""A source is downloaded over HTTP within limits of size and time, and an error never contains its URL."""

import gzip
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import encode_basic_auth, web
from pydantic import SecretStr

from oktawatch.engine import evidence_updates
from oktawatch.engine.evidence_updates import EvidenceUpdateError
from oktawatch.notify.channel import Way
from oktawatch.service import download as downloading
from oktawatch.service.download import download
from tests.support.certificates import PrivateCa
from tests.support.fetched_evidence import DAY, KEY, NEW, NOW, OLD, size_of, source_of, update
from tests.support.http import listening
from tests.support.publisher import Publisher, Respond, endless, stalling, status


async def test_an_unchanged_list_is_not_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
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


async def test_last_modified_or_the_contents_replace_a_missing_etag(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Last-Modified serves as well; without either, the same contents are unchanged."""
    publisher.etag, publisher.last_modified = None, "Tue, 24 Nov 2026 07:00:00 GMT"
    source = source_of(publisher, tmp_path)
    assert [await update(source), await update(source)] == [True, False]
    assert publisher.requests[1]["If-Modified-Since"] == "Tue, 24 Nov 2026 07:00:00 GMT"
    publisher.last_modified = None
    assert await update(source, DAY) is False
    assert source.inspect(NOW + DAY).modified_at == NOW


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
async def test_an_error_of_the_server_does_not_contain_the_url(
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
async def test_an_endless_body_is_read_up_to_the_limit(
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


async def test_the_size_limit_applies_to_the_unpacked_file(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size limit applies to the unpacked file."""
    monkeypatch.setitem(evidence_updates.LARGEST, "networks", 1024**2)
    publisher.publish(gzip.compress(b"\n" * 50 * 1024**2))
    with pytest.raises(EvidenceUpdateError, match="can't be used: expected at most 1 MiB"):
        await update(source_of(publisher, tmp_path))


async def test_a_stalling_server_times_out(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole download has a time limit."""
    monkeypatch.setattr(downloading, "_TIME_LIMIT_S", 0.2)
    publisher.respond = stalling
    with pytest.raises(EvidenceUpdateError, match="no complete answer in time"):
        await update(source_of(publisher, tmp_path))


async def test_a_refused_connection_is_reported_without_the_url(tmp_path: Path) -> None:
    """A refused connection is an error without the URL."""
    publisher = Publisher()
    publisher.url = "http://127.0.0.1:9/exits"
    with pytest.raises(EvidenceUpdateError, match="can't connect") as raised:
        await update(source_of(publisher, tmp_path))
    assert KEY not in str(raised.value)
