"""An HTTP receiver with scripted failures."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from oktawatch.simulator.server import stop


@dataclass(frozen=True)
class Answer:
    """A scripted response."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """``hang``: no response; ``reset``: reset the connection."""


@dataclass(frozen=True)
class Received:
    """A received request."""

    headers: dict[str, str]
    body: bytes
    answer: Answer

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return msgspec.json.decode(self.body)


class HttpReceiver:
    """Records every request and responds with the next scripted response, afterwards with 204."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.received: list[Received] = []
        self.url = ""

    @property
    def taken(self) -> list[Received]:
        """The requests that got a 2xx response."""
        return [one for one in self.received if one.answer.status < 300 and not one.answer.fault]

    def answer(self) -> Answer:
        """Return the response to the next request."""
        return self.script.pop(0) if self.script else Answer()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request."""
        answer = self.answer()
        self.received.append(Received(dict(request.headers), await request.read(), answer))
        if answer.fault == "hang":
            await asyncio.Event().wait()
        if answer.fault == "reset" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, headers=answer.headers)


@asynccontextmanager
async def listening(
    *script: Answer, receiver: HttpReceiver | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpReceiver]:
    """Serve on loopback. A subclass of the receiver can choose its responses."""
    receiver = receiver or HttpReceiver(*script)
    runner = web.ServerRunner(web.Server(receiver, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"{'http' if tls is None else 'https'}://{host}:{port}/hooks/4f1c-secret-path"
        yield receiver
    finally:
        await stop(runner)


@contextmanager
def receiving(
    *script: Answer, receiver: HttpReceiver | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[HttpReceiver]:
    """Serve in a thread, for tests that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="receiver", daemon=True)
    thread.start()
    served = listening(*script, receiver=receiver, tls=tls)
    try:
        receiver = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
        try:
            yield receiver
        finally:
            asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
