"""A real HTTP receiver that fails as its script says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""
        answer = self.script.pop(0) if self.script else Answer()
        self.received.append(Received(dict(request.headers), await request.read(), answer))
        if answer.fault == "hang":
            await asyncio.Event().wait()
        if answer.fault == "reset" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, headers=answer.headers)


@asynccontextmanager
async def listening(*script: Answer) -> AsyncIterator[HttpReceiver]:
    """Serve on loopback."""
    receiver = HttpReceiver(*script)
    runner = web.ServerRunner(web.Server(receiver), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}/hooks/4f1c-secret-path"
        yield receiver
    finally:
        await runner.cleanup()
