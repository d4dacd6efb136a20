"""Health and metrics over HTTP, to friendly and to hostile clients."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.service import endpoint as module
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.endpoint import Endpoint
from oktawatch.service.vitals import Problem, Vitals


class Daemon:
    """An endpoint over the vitals of a daemon that starts."""

    def __init__(self) -> None:
        self.database = DatabaseExecutor("sqlite://")
        self.vitals = Vitals(self.database, DatabaseTrouble(lost=lambda: None))
        self.endpoint = Endpoint(self.vitals)

    async def listen(self) -> str:
        """Listen on a free port; return its address."""
        with capture_logs() as logs:
            await self.endpoint.listen("127.0.0.1:0")
        (address,) = logs[0]["address"]
        return str(address)

    async def close(self) -> None:
        """Release everything."""
        await self.endpoint.close()
        await self.vitals.close()
        self.database.close()


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """Build a daemon, and close it."""
    made = Daemon()
    yield made
    await made.close()


async def _get(address: str, path: str, method: str = "GET") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{address}{path}") as answer,
    ):
        body = await (answer.json() if answer.content_type == "application/json" else answer.text())
        return answer.status, body


async def _send(address: str, data: bytes) -> bytes:
    """Send bytes, and return what comes back until the connection is closed."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_health_has_a_status_and_json(daemon: Daemon) -> None:
    """The status is 200 without problems and 503 with one, which the body names."""
    address = await daemon.listen()

    status, body = await _get(address, "/healthz")
    assert (status, body["ok"], body["problems"]) == (200, True, [])
    status, body = await _get(address, "/readyz")
    assert (status, body["ok"]) == (503, False)
    assert body["problems"] == [{"what": "start", "name": "", "problem": "the daemon is starting"}]


async def test_metrics_are_text(daemon: Daemon) -> None:
    """Metrics are served even if the database has no schema yet."""
    address = await daemon.listen()

    status, text = await _get(address, "/metrics")

    assert status == 200
    assert "oktawatch_build_info{" in text
    assert "oktawatch_database_up 0.0" in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/healthz", 200),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("OPTIONS", "/readyz", 405),
        ("GET", "/", 404),
        ("GET", "/metrics/../../etc/passwd", 404),
        ("GET", "/metrics%00", 404),
        ("GET", "/healthz?debug=1", 200),
    ],
)
async def test_only_three_pages_can_be_read(daemon: Daemon, method: str, path: str, status: int) -> None:
    """Other methods and paths are refused."""
    assert (await _get(await daemon.listen(), path, method))[0] == status


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["TLS", "version", "long path", "long header", "negative length", "broken chunks"],
)
async def test_malformed_requests_are_not_logged(
    daemon: Daemon, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that sends garbage can't fill the log, and others are still answered."""
    address = await daemon.listen()
    with capture_logs() as logs:
        answer = await _send(address, data)
        assert not answer.startswith(b"HTTP/1.1 200")
        assert (await _get(address, "/healthz"))[0] == 200

    assert (logs, caplog.records) == ([], [])


async def test_idle_connections_are_limited_in_number_and_time(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection above the limit is closed at once, the others after a while, and then there is room again."""
    monkeypatch.setattr(module, "_CONNECTIONS", 3)
    monkeypatch.setattr(module, "_CONNECTION_LIFETIME_S", 0.3)
    address = await daemon.listen()
    host, _, port = address.rpartition(":")

    idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
    await asyncio.sleep(0)
    assert await _send(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    async with asyncio.timeout(10):
        for reader, writer in idle:
            assert await reader.read() == b""
            writer.close()
    assert (await _get(address, "/healthz"))[0] == 200


async def test_a_port_in_use_is_logged_once_and_retried(daemon: Daemon) -> None:
    """The daemon goes on without its endpoint, and listens once the port is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with capture_logs() as logs:
            await daemon.endpoint.listen(address)
            await daemon.endpoint.round()
        (line,) = logs
        assert (line["event"], line["reason"], line["log_level"]) == (
            "endpoint_failed",
            "unavailable",
            "error",
        )
        assert line["error"].startswith(f"can't listen ({address}): ")
        assert line["error"].endswith('change service.listen; "" turns it off')
    with capture_logs() as logs:
        await daemon.endpoint.round()
    assert [line["event"] for line in logs] == ["endpoint_recovered", "endpoint_listening"]
    assert (await _get(address, "/healthz"))[0] == 200


@pytest.mark.parametrize("address", ["192.0.2.1:9464", "nowhere.invalid:9464"])
async def test_an_unavailable_address_is_logged_in_one_line(daemon: Daemon, address: str) -> None:
    """An address that this machine does not have is logged as a port in use is."""
    with capture_logs() as logs:
        await daemon.endpoint.listen(address)

    assert [line["event"] for line in logs] == ["endpoint_failed"]
    assert f"can't listen ({address}): " in logs[0]["error"]


async def test_a_changed_address_closes_the_old_one(daemon: Daemon) -> None:
    """After a reload, only the new address answers; an empty one turns the endpoint off."""
    first = await daemon.listen()
    await daemon.endpoint.listen("")
    with pytest.raises(aiohttp.ClientConnectorError):
        await _get(first, "/healthz")
    second = await daemon.listen()
    assert (await _get(second, "/healthz"))[0] == 200


async def test_an_exception_is_logged_and_not_sent(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets a status without text."""

    def broken() -> list[Problem]:
        raise KeyError("a secret")

    monkeypatch.setattr(daemon.vitals, "unhealthy", broken)
    address = await daemon.listen()
    with capture_logs() as logs:
        assert await _get(address, "/healthz") == (500, "")

    assert [line["event"] for line in logs] == ["endpoint_broken"]
