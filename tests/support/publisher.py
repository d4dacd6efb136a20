"""A server that publishes one file, or responds with a fault."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.http import Answer, HttpReceiver, Received

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Publisher(HttpReceiver):
    """Serves ``content`` with an ETag, or responds with ``respond``."""

    def __init__(self, content: str | bytes = "", *, etag: str | None = None) -> None:
        super().__init__()
        self.publish(content, etag=etag)
        self.last_modified: str | None = None
        self.respond: Respond | None = None

    def publish(self, content: str | bytes, *, etag: str | None = None) -> None:
        """Serve other contents from now on."""
        self.content = content.encode() if isinstance(content, str) else content
        self.etag = etag

    @property
    def requests(self) -> list[dict[str, str]]:
        """The headers of the received requests."""
        return [received.headers for received in self.received]

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request."""
        self.received.append(Received(dict(request.headers), b"", Answer()))
        if self.respond is not None:
            return await self.respond(request)
        known = {request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")} - {None}
        if known & {self.etag, self.last_modified}:
            return web.Response(status=304)
        headers = {"ETag": self.etag, "Last-Modified": self.last_modified}
        return web.Response(
            body=self.content, headers={name: value for name, value in headers.items() if value is not None}
        )


def status(code: int, **headers: str) -> Respond:
    """Respond with a status and headers. Underscores in their names become hyphens."""

    async def respond(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            status=code, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return respond


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    """Send a list of networks that never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"198.51.100.7\n" * 5_000)


async def stalling(request: web.BaseRequest) -> web.StreamResponse:
    """Send the start of a body, then keep the connection open without sending more."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"198.51.100.7\n")
    await asyncio.Event().wait()
    return response
