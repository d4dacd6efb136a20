"""Serve `/metrics`, `/healthz` and `/readyz` on `service.listen`.

If the address can't be used, for example because another program uses the port, the daemon logs this once, runs
without the endpoint, and retries every minute. Prometheus notices it, because its scrapes fail.

There is no authentication and no TLS. Clients can be hostile: only GET and HEAD are answered, connections are limited
in number and time, and the database is read at most once a second (`vitals.py`). Answers contain no secrets, and no
texts of events.
"""

import asyncio
import logging
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from oktawatch import __version__
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.vitals import Problem, Vitals

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(minutes=1)
"""Time between two attempts to listen."""
_CONNECTIONS = 32
_CONNECTION_LIFETIME_S = 30.0
"""Connections are closed after this time, so that idle ones can't use up the limit. Prometheus opens a new one."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Otherwise each malformed request would be logged with a traceback.
_disabled_logger = logging.getLogger("oktawatch.endpoint")
_disabled_logger.disabled = True


class Endpoint:
    """The HTTP server. One instance outlives reloads."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._address = ""
        self._runner: web.ServerRunner | None = None
        self._failures = FailureLog("endpoint")

    async def listen(self, address: str) -> None:
        """Serve on this address from now on; serve nothing if the address is empty."""
        if address != self._address:
            await self.close()
            self._address = address
            self._failures = FailureLog("endpoint", address=address)
        await self.round()

    async def round(self) -> None:
        """Start listening, unless there is no address or the server listens already. A failure is only logged."""
        if not self._address or self._runner is not None:
            return
        host, _, port = self._address.rpartition(":")
        runner = web.ServerRunner(_Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port), reuse_address=True).start()
        except OSError as error:
            await runner.cleanup()
            self._failures.failed("unavailable", ListenError(self._address, error))
            return
        self._failures.ended()
        self._runner = runner
        _log.info("endpoint_listening", address=[f"{found[0]}:{found[1]}" for found in runner.addresses])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        try:
            match request.path:
                case "/metrics":
                    from oktawatch.service.metrics import render  # noqa: PLC0415 -- takes 60 ms, only for scrapes

                    text = render(self._vitals.counters, await self._vitals.snapshot())
                    return web.Response(body=text, headers={"Content-Type": _METRICS_TYPE})
                case "/healthz":
                    return _health_response(self._vitals.unhealthy())
                case "/readyz":
                    return _health_response(await self._vitals.unready())
        except Exception as error:  # noqa: BLE001 -- a bug here must not reach the client, nor end the daemon
            _log.error("endpoint_broken", path=request.path, exc_info=error)
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        return web.Response(status=HTTPStatus.NOT_FOUND, text="see /metrics, /healthz and /readyz\n")


class ListenError(OSError):
    """The address can't be used."""

    def __init__(self, address: str, error: OSError) -> None:
        super().__init__(
            f"can't listen ({address}): {error.strerror or error}: stop the program that uses the port, or change "
            'service.listen; "" turns it off'
        )


class _Server(web.Server):
    """A server that limits the number of its connections, and how long each lasts."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler, access_log=None, logger=_disabled_logger, lingering_time=0.0)

    def __call__(self) -> RequestHandler:
        """Build the protocol of a new connection."""
        connection = super().__call__()
        full = len(self.connections) >= _CONNECTIONS
        loop = asyncio.get_running_loop()
        # Close it later, because its transport is set after this call.
        loop.call_later(0 if full else _CONNECTION_LIFETIME_S, connection.force_close)
        return connection


def _health_response(problems: list[Problem]) -> web.Response:
    body = {"ok": not problems, "version": __version__, "problems": problems}
    return web.Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK,
        body=msgspec.json.encode(body) + b"\n",
        content_type="application/json",
    )
