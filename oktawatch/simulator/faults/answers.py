"""Answers that are no page: refusals, outages, and what portals and gateways say in Okta's place."""

from typing import TYPE_CHECKING

from aiohttp import web

from oktawatch.simulator import errors

from . import wire
from .fault import Fault

if TYPE_CHECKING:
    from oktawatch.simulator.exchange import Exchange

_PORTAL = "https://portal.example.net/login"
_SORRY = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def error(refusal: errors.OktaError, name: str) -> Fault:
    """Answer as Okta does when it refuses, with its headers."""

    async def commit(exchange: "Exchange") -> web.Response:
        return exchange.refuse(refusal)

    return Fault(name, commit)


def timed_out() -> Fault:
    """Answer 500 E0000009: the query took Okta too long."""
    return error(errors.internal(), "timed_out")


def read_only() -> Fault:
    """Answer 503 E0000010: the org is being serviced."""
    return error(errors.read_only(), "read_only")


def refused_token() -> Fault:
    """Answer 401 E0000011."""
    return error(errors.invalid_token(), "refused_token")


def no_permission() -> Fault:
    """Answer 403 E0000006."""
    return error(errors.no_permission(), "no_permission")


def refused_cursor() -> Fault:
    """Answer 400 E0000029, this once: the cursor can be good again, unlike one that `org.cursors` has forgotten."""

    async def commit(exchange: "Exchange") -> web.Response:
        return exchange.refuse(errors.invalid_paging())

    return Fault("refused_cursor", commit, needs_cursor=True)


def too_many_requests() -> Fault:
    """Answer 429 although there was something left a moment ago: others took it. The reset is the window's own."""

    async def commit(exchange: "Exchange") -> web.Response:
        response = exchange.refuse(errors.too_many_requests())
        response.headers["X-Rate-Limit-Remaining"] = "0"
        return response

    return Fault("too_many_requests", commit)


def concurrent() -> Fault:
    """Answer 429 with a limit of 0 and nothing left: too many requests at once (Okta: a concurrency violation)."""

    async def commit(exchange: "Exchange") -> web.Response:
        response = exchange.refuse(errors.too_many_requests())
        response.headers.update({"X-Rate-Limit-Limit": "0", "X-Rate-Limit-Remaining": "0"})
        return response

    return Fault("concurrent", commit)


def html(status: int) -> Fault:
    """Answer with a gateway's own page: HTML, and a date, but none of Okta's headers."""

    async def commit(exchange: "Exchange") -> web.Response:
        response = exchange.dress(_page(status, _reason(status)))
        for name in [name for name in response.headers if name.startswith(("X-Rate-Limit", "X-Okta"))]:
            del response.headers[name]
        return response

    return Fault(f"html_{status}", commit)


def bare(status: int) -> Fault:
    """Answer with a status and nothing else: no headers, no date, no body."""

    async def commit(_: "Exchange") -> web.Response:
        response = web.Response(status=status)
        response[wire.BARE] = True
        return response

    return Fault(f"bare_{status}", commit)


def redirect(to: str = _PORTAL, status: int = 302) -> Fault:
    """Send the client elsewhere; a token must not follow."""

    async def commit(exchange: "Exchange") -> web.Response:
        response = _page(status, _reason(status))
        response.headers["Location"] = to
        return exchange.dress(response)

    return Fault("redirect", commit)


def login_page() -> Fault:
    """Answer 200 with a portal's page for people to log in."""

    async def commit(_: "Exchange") -> web.Response:
        return _page(200, "Log in")

    return Fault("login_page", commit)


def _page(status: int, title: str) -> web.Response:
    return web.Response(status=status, text=_SORRY.format(title), content_type="text/html")


def _reason(status: int) -> str:
    return web.Response(status=status).reason
