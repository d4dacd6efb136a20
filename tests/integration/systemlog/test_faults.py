"""A refusal, a broken answer, a lost connection or a rate limit raises a SystemLogError, and never returns an empty page."""

import asyncio
import gzip
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
from tests.support.faults import DATE, EVENT, QUERY, TOKEN, Sleeps, Writer, answer, client_of, faulty

OKTA_ERROR = b'{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorCauses":[]}'


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
async def test_a_refusal_raises_an_error_with_oktas_message(status: str, kind: type[SystemLogError]) -> None:
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
async def test_a_broken_answer_raises_an_error(given: bytes | Writer) -> None:
    """A broken answer raises an error instead of becoming an empty page, because the cursor would skip events."""
    async with faulty(given) as server, client_of(server.url) as client:
        with pytest.raises(BrokenTransferError) as caught:
            await client.page(QUERY)
    assert "(acme, http://127.0.0.1:" in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None, "its frames would hold the token"


@pytest.mark.parametrize("given", [_hang, _hang_in_the_body], ids=["no answer", "no end"])
async def test_a_hanging_server_times_out(given: bytes | Writer) -> None:
    """A server that hangs raises TimedOutError after the timeout, before or within the answer."""
    async with faulty(given) as server, client_of(server.url, seconds=0.05) as client:
        with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
            await client.page(QUERY)


async def test_a_connection_closed_without_an_answer_is_unavailable() -> None:
    """A connection that is closed without an answer raises UnavailableError."""
    async with faulty(b"") as server, client_of(server.url) as client:
        with pytest.raises(UnavailableError, match="can't be reached"):
            await client.page(QUERY)


async def test_a_refused_connection_is_unavailable() -> None:
    """A refused connection raises UnavailableError with the org and the address."""
    async with faulty() as server:
        url = server.url
    async with client_of(url) as client:
        with pytest.raises(UnavailableError, match=rf"the org can't be reached \(acme, {url}, "):
            await client.page(QUERY)


async def test_an_unknown_host_name_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host name raises UnavailableError, because the name service may be down."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client_of("https://acme.example.com") as client:
        with pytest.raises(UnavailableError, match=r"can't be reached .*the network and DNS"):
            await client.page(QUERY)


async def test_a_broken_connection_is_retried_once() -> None:
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


async def test_an_untrusted_certificate_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    """An untrusted certificate is refused before the token is sent."""
    async with faulty(answer(), tls=_self_signed(tmp_path)) as server, client_of(server.url) as client:
        with pytest.raises(UntrustedError, match=r"the connection is not trusted .*certificate"):
            await client.page(QUERY)
    assert server.requests == []


def _limited(reset: int | None = None) -> bytes:
    body = b'{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}'
    headers = {} if reset is None else {"X_Rate_Limit_Reset": str(reset)}
    return answer(body, None, status="429 Too Many Requests", **headers)


async def test_a_429_is_retried_after_the_reset() -> None:
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


async def test_endless_429s_raise_an_error_after_a_deadline() -> None:
    """Endless 429 responses raise an error after a deadline, with increasing waits."""
    sleep = Sleeps()
    async with faulty(_limited()) as server, client_of(server.url, sleep=sleep) as client:
        with pytest.raises(RateLimitedError) as caught:
            await client.page(QUERY)
    assert sleep.taken == [5.25, 10.25, 20.25, 40.25]
    assert len(server.requests) == 5
    assert (caught.value.status, caught.value.error_code) == (429, "E0000047")


async def test_a_cancelled_wait_ends_at_once() -> None:
    """The daemon stops within seconds, rate limit or not."""
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(seconds)

    async with faulty(_limited()) as server:
        client = LogClient(OrgAccess("acme", server.url, TOKEN), budget=RateBudget(sleep=sleep))
        await _cancel(client, waiting)


async def test_a_cancelled_request_ends_at_once() -> None:
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
