"""The org's HTTP side, on loopback: requests to questions, pages to answers."""

import asyncio
import contextlib
import email.utils
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC

from aiohttp import web
from isal import igzip

from . import errors, query
from .auth import is_authorized
from .org import Page, Request, SimulatedOrg
from .times import to_ms

HOST = "127.0.0.1"
LOGS = "/api/v1/logs"


@contextlib.asynccontextmanager
async def serve(org: SimulatedOrg, port: int = 0) -> AsyncIterator[str]:
    """Serve an org in the running loop and give its URL, `http://127.0.0.1:PORT`. Port 0 takes a free one.

    Raises OSError when the port is taken.
    """

    async def answer(request: web.Request) -> web.Response:
        return _answer(org, request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def running(org: SimulatedOrg, port: int = 0) -> Iterator[str]:
    """Serve an org in a thread of its own and give its URL: for callers that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated-org", daemon=True)
    thread.start()
    served = serve(org, port)
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


def _answer(org: SimulatedOrg, request: web.Request) -> web.Response:
    now = org.now()
    within_limit = org.budget.take(now.timestamp())
    try:
        response = _respond(org, request, within_limit=within_limit)
    except errors.OktaError as error:
        response = web.Response(
            status=error.status,
            body=error.body(),
            content_type="application/json",
            headers=error.headers,
        )
    response.headers.update(org.budget.headers())
    response.headers["Date"] = email.utils.format_datetime(now.astimezone(UTC), usegmt=True)
    response.headers["X-Okta-Request-Id"] = secrets.token_hex(16)
    response.headers["Cache-Control"] = "no-cache, no-store"
    org.requests.append(Request(request.method, request.raw_path, response.status))
    return response


def _respond(org: SimulatedOrg, request: web.Request, *, within_limit: bool) -> web.Response:
    if request.path != LOGS:
        raise errors.not_found(request.path)
    if not is_authorized(request.headers.get("Authorization"), org.token):
        raise errors.invalid_token()
    if not within_limit:
        raise errors.too_many_requests()
    if request.method != "GET":
        raise errors.not_allowed()
    asked = query.read(request.query, to_ms(org.now()))
    return _logs(request, org.page(asked))


def _logs(request: web.Request, page: Page) -> web.Response:
    base = f"{request.scheme}://{request.host}"
    response = web.Response(content_type="application/json")
    response.headers.add("Link", f'<{base}{request.raw_path}>; rel="self"')
    if page.next is not None:
        response.headers.add("Link", f'<{base}{page.next.link(LOGS)}>; rel="next"')
    body = b"[" + b",".join(page.bodies) + b"]"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        body = igzip.compress(body, 1)
    response.body = body
    return response
