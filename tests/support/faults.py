"""A server that answers as badly as it is told to."""

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

Writer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes = b"[]", length: int | None = None, *, status: str = "200 OK", **headers: str
) -> bytes:
    """Write an answer; ``length`` is what Content-Length claims. Underscores in names of headers are hyphens."""
    given = {"Content_Type": "application/json", "Date": DATE} | headers
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@dataclass
class FaultyServer:
    """Answers each request with the next of its answers, the last one again and again."""

    answers: list[bytes | Writer]
    requests: list[str] = field(default_factory=list)
    """Heads of the requests it got."""
    scheme: str = "http"
    port: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, give one answer, hang up."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
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
    """Serve these answers on loopback."""
    server = FaultyServer(list(answers), scheme="https" if tls else "http")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        left = list(server.serving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)


class Sleeps:
    """Sleeps no time, remembers how long it should have, and has a clock that believes it."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Let others run."""
        self.taken.append(seconds)
        await asyncio.sleep(0)

    def clock(self) -> float:
        """Give the seconds slept."""
        return sum(self.taken)

    def budget(self, share: float = 1.0) -> RateBudget:
        """Make an org's budget that goes by this time."""
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
    """Give a client of one org that doesn't sleep, and close it."""
    budget = (sleep or Sleeps()).budget()
    access = OrgAccess("acme", url, "" if app else token, app)
    client = LogClient(access, budget=budget, timeout=seconds, clock=clock)
    try:
        yield client
    finally:
        await client.close()
