"""A real HTTP receiver that fails as its script says."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web


@dataclass(frozen=True)
class Answer:
    """What a request is answered with."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """``hang``: no answer; ``reset``: the connection is torn down."""


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes
    answer: Answer

    @property
    def json(self) -> Any:
        """The body's JSON document."""
        return msgspec.json.decode(self.body)


class HttpReceiver:
    """Keeps every request; answers with its script's next line, after its end with 204."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.received: list[Received] = []
        self.url = ""

    @property
    def taken(self) -> list[Received]:
        """The requests that it has taken."""
        return [one for one in self.received if one.answer.status < 300 and not one.answer.fault]

    def answer(self) -> Answer:
        """Say what the next request is answered with."""
        return self.script.pop(0) if self.script else Answer()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""
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
    """Serve on loopback; a receiver of another kind decides itself how it answers."""
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
        await runner.cleanup()


@contextmanager
def receiving(*script: Answer, tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """Serve in a thread of its own: for tests that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="receiver", daemon=True)
    thread.start()
    served = listening(*script, tls=tls)
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
