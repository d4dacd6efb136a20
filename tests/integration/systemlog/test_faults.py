"""Every answer of a server becomes a page or a SystemLogError, and the token is sent nowhere else."""

import asyncio
import gzip
import logging
import socket
import ssl
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.compression_utils import ZLibBackend
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oktawatch import __version__
from oktawatch.systemlog import transport
from oktawatch.systemlog.access import OrgAccess
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.client import LogClient
from oktawatch.systemlog.errors import (
    BrokenTransferError,
    PermissionMissingError,
    RateLimitedError,
    RequestRefusedError,
    SystemLogError,
    TokenRefusedError,
    UnavailableError,
    UntrustedError,
    WrongHostError,
)
from oktawatch.systemlog.page import Page
from oktawatch.systemlog.transport import open_session
from tests.support.faults import DATE, QUERY, TOKEN, Sleeps, Writer, answer, client_of, faulty

EVENT = b'{"uuid":"u1","published":"2026-11-24T07:59:59.000Z"}'
OKTA_ERROR = b'{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorCauses":[]}'


async def test_a_request_is_written_as_okta_wants_it() -> None:
    """A request has the SSWS scheme, the unchanged URL and oktawatch's User-Agent, and nothing from the environment."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        odd = f"{QUERY}&after=%7e,%2C+'()~%20"
        await client.page(odd)
    head = server.requests[0]
    assert head.startswith(f"GET {odd} HTTP/1.1\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert headers["Authorization"] == f"SSWS {TOKEN}"
    assert headers["User-Agent"] == f"oktawatch/{__version__}"
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "gzip"
    assert "Cookie" not in headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", RequestRefusedError),
        ("401 Unauthorized", TokenRefusedError),
        ("403 Forbidden", PermissionMissingError),
        ("404 Not Found", WrongHostError),
        ("500 Internal Server Error", UnavailableError),
        ("503 Service Unavailable", UnavailableError),
        ("204 No Content", BrokenTransferError),
        ("206 Partial Content", BrokenTransferError),
    ],
)
async def test_a_refusal_says_what_okta_said(status: str, kind: type[SystemLogError]) -> None:
    """A refusal raises an error with Okta's own message instead of the SDK's error."""
    body = b"" if status.startswith("204") else OKTA_ERROR
    async with (
        faulty(answer(body, status=status, X_Okta_Request_Id="r1")) as server,
        client_of(server.url) as client,
    ):
        with pytest.raises(kind) as caught:
            await client.page(QUERY)
    assert caught.value.request_id == "r1"
    assert caught.value.status == int(status[:3])
    assert body == b"" or (
        caught.value.error_code == "E0000011" and "Invalid token provided" in str(caught.value)
    )


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_no_redirect_is_followed(status: str) -> None:
    """A redirect is not followed, because the request would contain the token."""
    async with faulty(answer()) as other:
        moved = answer(b"", status=status, Location=f"{other.url}{QUERY}")
        async with faulty(moved) as server, client_of(server.url) as client:
            with pytest.raises(BrokenTransferError, match=f"HTTP {status[:3]}.*{other.url}"):
                await client.page(QUERY)
    assert other.requests == []


async def _hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def _hang_in_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"[" + EVENT, 1_000))
    await writer.drain()
    await asyncio.sleep(60)


async def _chunks_cut_short(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(answer(b"<html>Sign in</html>", Content_Type="text/html"), id="login page"),
        pytest.param(answer(b"[]", Content_Type="Text/HTML; charset=utf-8"), id="a page for people"),
        pytest.param(answer(b"{}"), id="an object"),
        pytest.param(answer(b"null"), id="null"),
        pytest.param(answer(b""), id="empty body"),
        pytest.param(answer(b"[" + EVENT + b","), id="cut list"),
        pytest.param(answer(b"[" + EVENT + b"]", 1_000), id="cut body"),
        pytest.param(answer(b"[" + EVENT + b"]", 20), id="length too small"),
        pytest.param(answer(b"not gzip", Content_Encoding="gzip"), id="not gzip"),
        pytest.param(
            answer(gzip.compress(b"[" + EVENT + b"]")[:-12], Content_Encoding="gzip"), id="cut gzip"
        ),
        pytest.param(answer(b"[]", Content_Encoding="br"), id="unasked encoding"),
        pytest.param(_chunks_cut_short, id="cut chunks"),
        pytest.param(answer(b"[" * 200_000), id="brackets"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 two hundred\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n[]", id="endless header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n[]", id="negative length"),
    ],
)
async def test_a_broken_answer_is_never_an_empty_page(given: bytes | Writer) -> None:
    """A broken answer raises an error instead of becoming an empty page, because the cursor would skip events."""
    async with faulty(given) as server, client_of(server.url) as client:
        with pytest.raises(BrokenTransferError) as caught:
            await client.page(QUERY)
    assert "(acme, http://127.0.0.1:" in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None, "its frames would hold the token"


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example.com/api/v1/logs?a>; rel="next"',
        "<https://evil.example.com",
        '</api/v1/logs?a=\udcff>; rel="next"',
    ],
)
async def test_a_link_that_cannot_be_followed_keeps_its_page(link: str) -> None:
    """A page with an unusable next link has its events and the link's error."""
    async with faulty(answer(b"[" + EVENT + b"]", Link=link)) as server, client_of(server.url) as client:
        page = await client.page(QUERY)
    assert [event.uuid for event in page.events] == ["u1"]
    assert (page.next, page.link_error is None) == (None, False)


async def test_more_elements_than_asked_for_are_refused_before_they_are_decoded() -> None:
    """A million empty objects are 4 KB of gzip, and took 12 GB of memory as rejected events."""
    bomb = gzip.compress(b"[" + b",".join([b"{}"] * 1_000_000) + b"]")
    async with faulty(answer(bomb, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        with pytest.raises(BrokenTransferError, match="more than 10000 elements"):
            await client.page(QUERY)
        server.answers = [answer(b"[" + b",".join([b"{}"] * 10_000) + b"]")]
        assert (await client.page(QUERY)).count == 10_000


async def test_a_large_page_is_decoded_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large page is decoded in a thread, while other orgs' requests continue."""
    threads = []

    def noting(*args: Any, **kwargs: Any) -> Page:
        threads.append(threading.current_thread().name.rpartition("_")[0])
        return page_of(*args, **kwargs)

    page_of = Page.read
    monkeypatch.setattr(Page, "read", noting)
    large = b"[" + EVENT + b" " * 300_000 + b"]"
    async with faulty(answer(b"[" + EVENT + b"]"), answer(large)) as server, client_of(server.url) as client:
        await client.page(QUERY)
        assert (await client.page(QUERY)).count == 1
    assert threads == ["", "oktawatch-decoding"]


@pytest.mark.parametrize("given", [_hang, _hang_in_the_body], ids=["no answer", "no end"])
async def test_a_server_that_hangs_is_given_up(given: bytes | Writer) -> None:
    """A server that hangs raises TimedOutError after the timeout, before or within the answer."""
    async with faulty(given) as server, client_of(server.url, seconds=0.05) as client:
        with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
            await client.page(QUERY)


async def test_a_server_that_hangs_up_is_unavailable() -> None:
    """A connection that is closed without an answer raises UnavailableError."""
    async with faulty(b"") as server, client_of(server.url) as client:
        with pytest.raises(UnavailableError, match="can't be reached"):
            await client.page(QUERY)


async def test_nobody_listening_is_unavailable() -> None:
    """A refused connection raises UnavailableError with the org and the address."""
    async with faulty() as server:
        url = server.url
    async with client_of(url) as client:
        with pytest.raises(UnavailableError, match=rf"the org can't be reached \(acme, {url}, "):
            await client.page(QUERY)


async def test_a_name_that_nobody_knows_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host name raises UnavailableError, because the name service may be down."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client_of("https://acme.example.com") as client:
        with pytest.raises(UnavailableError, match=r"can't be reached .*the network and DNS"):
            await client.page(QUERY)


async def test_a_connection_that_breaks_is_made_anew_once() -> None:
    """A request is repeated once if the server closes the connection; the second time is a failure."""
    async with faulty(b"", answer(), b"", b"", answer()) as server, client_of(server.url) as client:
        assert (await client.page(QUERY)).count == 0
        await client.close()
        with pytest.raises(UnavailableError):
            await client.page(QUERY)
    assert len(server.requests) == 4


def _self_signed(folder: Path) -> ssl.SSLContext:
    """Create a certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(today).not_valid_after(today + timedelta(days=1))
    pem = folder / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_an_untrusted_certificate_is_refused_and_said(tmp_path: Path) -> None:
    """An untrusted certificate is refused before the token is sent."""
    async with faulty(answer(), tls=_self_signed(tmp_path)) as server, client_of(server.url) as client:
        with pytest.raises(UntrustedError, match=r"the connection is not trusted .*certificate"):
            await client.page(QUERY)
    assert server.requests == []


async def test_a_gzipped_page_is_inflated() -> None:
    """A compressed page is inflated."""
    packed = gzip.compress(b"[" + EVENT + b"]")
    async with faulty(answer(packed, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        page = await client.page(QUERY)
    assert [event.uuid for event in page.events] == ["u1"]
    assert page.date is not None


async def test_a_page_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of gzip can contain a gigabyte, so inflating stops at the bound."""
    monkeypatch.setattr(transport, "LARGEST_BODY", 1_000_000)
    bomb = gzip.compress(b"[" + b" " * 30_000_000 + b"]")
    async with faulty(answer(bomb, Content_Encoding="gzip")) as server, client_of(server.url) as client:
        tracemalloc.start()
        with pytest.raises(BrokenTransferError, match="more than 1000000 bytes"):
            await client.page(QUERY)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10_000_000  # decompression stops at the limit


async def test_of_a_huge_error_only_the_beginning_is_read() -> None:
    """Only the beginning of a large error body is read and quoted."""
    huge = b'{"errorSummary":"' + b"x" * 10_000_000 + b'"}'
    async with faulty(answer(huge, status="500 Oops")) as server, client_of(server.url) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.page(QUERY)
    assert len(str(caught.value)) < 1_000


async def test_both_link_lines_are_read() -> None:
    """``self`` and ``next`` are read from two header lines of one name."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        following = "/api/v1/logs?after=1&limit=1000"
        links = f'<{server.url}{QUERY}>; rel="self"\r\nLink: <{server.url}{following}>; rel="next"'
        server.answers = [answer(Link=links)]
        page = await client.page(QUERY)
    assert (page.query, page.next, page.resume) == (QUERY, following, following)


async def test_cookies_are_not_kept() -> None:
    """Cookies are not kept, so that only the token identifies the client."""
    async with faulty(answer(Set_Cookie="sid=1; Path=/")) as server, client_of(server.url) as client:
        await client.page(QUERY)
        await client.page(QUERY)
    assert "cookie" not in server.requests[1].lower()


def _limited(reset: int | None = None) -> bytes:
    body = b'{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}'
    headers = {} if reset is None else {"X_Rate_Limit_Reset": str(reset)}
    return answer(body, None, status="429 Too Many Requests", **headers)


async def test_a_429_is_waited_out() -> None:
    """A request waits for the reset by the server's clock, with a little jitter, and is then repeated."""
    sleep = Sleeps()
    limited = _limited(int(parsedate_to_datetime(DATE).timestamp()) + 20)
    async with (
        faulty(limited, answer(b"[" + EVENT + b"]")) as server,
        client_of(server.url, sleep=sleep) as client,
    ):
        page = await client.page(QUERY)
    assert sleep.taken == [21.25]
    assert page.count == 1


async def test_429s_without_end_are_given_up() -> None:
    """Endless 429 responses raise an error after a deadline, with increasing waits."""
    sleep = Sleeps()
    async with faulty(_limited()) as server, client_of(server.url, sleep=sleep) as client:
        with pytest.raises(RateLimitedError) as caught:
            await client.page(QUERY)
    assert sleep.taken == [5.25, 10.25, 20.25, 40.25]
    assert len(server.requests) == 5
    assert (caught.value.status, caught.value.error_code) == (429, "E0000047")


async def test_a_wait_ends_at_once_when_it_is_cancelled() -> None:
    """The daemon stops within seconds, rate limit or not."""
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(seconds)

    async with faulty(_limited()) as server:
        client = LogClient(OrgAccess("acme", server.url, TOKEN), budget=RateBudget(sleep=sleep))
        await _cancel(client, waiting)


async def test_a_request_ends_at_once_when_it_is_cancelled() -> None:
    """A cancelled request ends at once, even in the middle of an answer."""
    sent = asyncio.Event()

    async def hang(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"[" + EVENT, 1_000))
        await writer.drain()
        sent.set()
        await asyncio.sleep(60)

    async with faulty(hang) as server:
        client = LogClient(OrgAccess("acme", server.url, TOKEN))
        await _cancel(client, sent)


async def _cancel(client: LogClient, under_way: asyncio.Event) -> None:
    task = asyncio.create_task(client.page(QUERY))
    await under_way.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    assert done == {task}
    assert task.cancelled()
    await client.close()


async def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The SDK's variables and files, and proxies in the environment, have no effect."""
    (tmp_path / "okta.yaml").write_text(
        "okta:\n  client:\n    orgUrl: http://127.0.0.1:1\n    token: other\n"
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "http://127.0.0.1:1")
    monkeypatch.setenv("OKTA_CLIENT_TOKEN", "other")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with faulty(answer()) as server, client_of(server.url) as client:
        await client.page(QUERY)
    assert f"SSWS {TOKEN}" in server.requests[0]


async def test_no_log_of_the_sdk_shows_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's logger is disabled, because it would write headers at DEBUG and tracebacks at ERROR."""
    caplog.set_level(logging.DEBUG)
    async with faulty(answer(), b"") as server, client_of(server.url) as client:
        await client.page(QUERY)
        with pytest.raises(UnavailableError):
            await client.page(QUERY)
    assert TOKEN not in caplog.text
    assert "okta-sdk-python" not in {record.name for record in caplog.records}


async def test_only_the_log_is_asked() -> None:
    """A query that does not address the System Log is not sent."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        for query in (
            "@evil.example.com/",
            "/api/v1/users?x",
            f"https://evil.example.com{QUERY}",
            "",
            "/api/v1/logs",
        ):
            with pytest.raises(RequestRefusedError, match="not a query of the System Log"):
                await client.page(query)
    assert server.requests == []


async def test_clients_share_a_session_and_leave_it_open() -> None:
    """Clients share a session, and closing a client leaves it open."""
    async with faulty(answer()) as server, open_session(None) as session:
        for name in ("acme", "globex"):
            client = LogClient(OrgAccess(name, server.url, TOKEN), session=session)
            await client.page(QUERY)
            await client.close()
        assert not session.closed


async def test_a_closed_client_can_be_used_again() -> None:
    """Closing closes connections only, and can be repeated."""
    async with faulty(answer()) as server, client_of(server.url) as client:
        await client.close()
        await client.page(QUERY)
        await client.close()
        await client.close()
        assert (await client.page(QUERY)).count == 0


async def test_two_orgs_keep_their_tokens_apart() -> None:
    """Two orgs use their own tokens, although the SDK keeps some state on classes."""
    async with (
        faulty(answer()) as one,
        faulty(answer()) as other,
        client_of(one.url, token="00one") as first,
        client_of(other.url, token="00other") as second,
    ):
        await asyncio.gather(first.page(QUERY), second.page(QUERY))
    assert "SSWS 00one\r\n" in one.requests[0]
    assert "SSWS 00other\r\n" in other.requests[0]


def test_gzip_is_inflated_by_isal() -> None:
    """Answers are decompressed by isal, which is three times as fast as zlib."""
    assert ZLibBackend.name == "isal.isal_zlib"
