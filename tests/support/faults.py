"""A server with scripted, faulty responses."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from oktawatch.systemlog.access import OrgAccess, ServiceApp
from oktawatch.systemlog.budget import RateBudget
from oktawatch.systemlog.client import LogClient

TOKEN = "00invented-token-of-nobody"
QUERY = "/api/v1/logs?since=2026-11-24T08%3A00%3A00.000Z&limit=1000&sortOrder=ASCENDING"
DATE = "Tue, 24 Nov 2026 08:00:00 GMT"
EVENT = b'{"uuid":"u1","published":"2026-11-24T07:59:59.000Z"}'

Writer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes = b"[]", length: int | None = None, *, status: str = "200 OK", **headers: str
) -> bytes:
    """Build a response. ``length`` is the claimed Content-Length. Underscores in header names become hyphens."""
    all_headers = {"Content_Type": "application/json", "Date": DATE} | headers
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in all_headers.items()]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@dataclass
class FaultyServer:
    """Responds to each request with the next response, and repeats the last one."""

    answers: list[bytes | Writer]
    requests: list[str] = field(default_factory=list)
    """The heads of the received requests."""
    scheme: str = "http"
    port: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    transports: set[asyncio.WriteTransport] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, send one response, close the connection."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        self.transports.add(writer.transport)
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            chosen = self.answers[min(len(self.requests), len(self.answers)) - 1]
            if isinstance(chosen, bytes):
                writer.write(chosen)
                await writer.drain()
            else:
                await chosen(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # asyncio logs the end of a cancelled handler as an error
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def faulty(*answers: bytes | Writer, tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyServer]:
    """Serve these responses on loopback."""
    server = FaultyServer(list(answers), scheme="https" if tls else "http")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        unfinished = list(server.serving)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        for transport in server.transports:
            transport.abort()  # a TLS connection would wait for the client's confirmation
        await asyncio.sleep(0)


class Sleeps:
    """A replacement for `asyncio.sleep` that only advances a clock, and records the sleeps."""

    def __init__(self) -> None:
        """Start without any sleep."""
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Record a sleep and yield to other tasks."""
        self.taken.append(seconds)
        await asyncio.sleep(0)

    def clock(self) -> float:
        """Return the seconds slept."""
        return sum(self.taken)

    def budget(self, share: float = 1.0) -> RateBudget:
        """Return an org's rate budget that uses this clock."""
        return RateBudget(share, clock=self.clock, sleep=self, jitter=lambda: 0.25)


@contextlib.asynccontextmanager
async def client_of(
    url: str,
    *,
    token: str = TOKEN,
    app: ServiceApp | None = None,
    seconds: float = 5.0,
    sleep: Sleeps | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[LogClient]:
    """Yield a client of one org whose sleeps take no time."""
    budget = (sleep or Sleeps()).budget()
    access = OrgAccess("acme", url, "" if app else token, app)
    client = LogClient(access, budget=budget, timeout=seconds, clock=clock)
    try:
        yield client
    finally:
        await client.close()
