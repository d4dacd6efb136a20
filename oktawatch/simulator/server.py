"""The HTTP server of the simulated org, on loopback."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from .exchange import Exchange
from .faults.wire import BARE
from .oauth import TOKEN
from .simulated import Request, SimulatedOrg

HOST = "127.0.0.1"


@contextlib.asynccontextmanager
async def serve(org: SimulatedOrg, port: int = 0, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve an org in the running loop and yield its URL, `http://127.0.0.1:PORT`. Port 0 selects a free port.

    With `tls` the URL is an `https` URL. Raises OSError when the port is in use.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _answer(org, request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    app.on_response_prepare.append(_remove_server_headers)
    # When the client disconnects, aiohttp cancels the handler: a hanging request ends.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, ssl_context=tls)
        await site.start()
        yield f"{'https' if tls else 'http'}://{HOST}:{runner.addresses[0][1]}"
    finally:
        org.faults.hangs.release()
        await stop(runner)


async def stop(runner: web.BaseRunner) -> None:
    """Stop a server and close its connections.

    aiohttp doesn't wait until clients have confirmed the end of their TLS connections. Without `abort`, the loop would be
    closed with these connections open.
    """
    connections = [] if runner.server is None else runner.server.connections
    transports = [connection.transport for connection in connections if connection.transport is not None]
    await runner.cleanup()
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


@contextlib.contextmanager
def running(org: SimulatedOrg, port: int = 0, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve an org in a separate thread and yield its URL, for synchronous callers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated-org", daemon=True)
    thread.start()
    served = serve(org, port, tls=tls)
    try:
        url = asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _answer(org: SimulatedOrg, request: web.Request) -> web.StreamResponse:
    budget = org.token_budget if request.path == TOKEN else org.budget
    exchange = Exchange(org, request, budget, budget.take(org.now().timestamp()), org.faults.hangs)
    fault = org.faults.draw(request.path, has_cursor="after" in request.query)
    name = None if fault is None else fault.name
    status = None
    try:
        response = await (exchange.answer() if fault is None else fault.inject(exchange))
        status = None if response is None else response.status
    finally:
        org.requests.append(Request(request.method, request.raw_path, status, name))
    # aiohttp needs a response here, even after a fault that broke the connection.
    return web.Response() if response is None else response


async def _remove_server_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Remove aiohttp's `Server` header and, from a bare answer, its `Date` header. Other answers have the org's `Date`."""
    response.headers.pop("Server", None)
    if response.get(BARE):
        response.headers.pop("Date", None)
