"""Answers that are not a page: refusals, outages, and the answers of portals and gateways."""

from typing import TYPE_CHECKING

from aiohttp import web

from oktawatch.simulator import errors

from . import wire
from .fault import Fault

if TYPE_CHECKING:
    from oktawatch.simulator.exchange import Exchange

_PORTAL = "https://portal.example.net/login"
_HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def error(refusal: errors.OktaError, name: str) -> Fault:
    """Answer with an Okta error, including Okta's headers."""

    async def inject(exchange: "Exchange") -> web.Response:
        return exchange.refuse(refusal)

    return Fault(name, inject)


def timed_out() -> Fault:
    """Answer 500 E0000009, as Okta does when a query times out."""
    return error(errors.internal(), "timed_out")


def read_only() -> Fault:
    """Answer 503 E0000010: the org is under maintenance."""
    return error(errors.read_only(), "read_only")


def refused_token() -> Fault:
    """Answer 401 E0000011."""
    return error(errors.invalid_token(), "refused_token")


def no_permission() -> Fault:
    """Answer 403 E0000006."""
    return error(errors.no_permission(), "no_permission")


def refused_cursor() -> Fault:
    """Answer 400 E0000029 once. The next request with the same cursor can succeed, unless `org.cursors` forgot it."""

    async def inject(exchange: "Exchange") -> web.Response:
        return exchange.refuse(errors.invalid_paging())

    return Fault("refused_cursor", inject, needs_cursor=True)


def too_many_requests() -> Fault:
    """Answer 429 in the middle of a window, as if other clients had used the rest of it."""

    async def inject(exchange: "Exchange") -> web.Response:
        response = exchange.refuse(errors.too_many_requests())
        response.headers["X-Rate-Limit-Remaining"] = "0"
        return response

    return Fault("too_many_requests", inject)


def concurrent() -> Fault:
    """Answer 429 with a limit of 0 and 0 remaining: Okta's concurrency limit."""

    async def inject(exchange: "Exchange") -> web.Response:
        response = exchange.refuse(errors.too_many_requests())
        response.headers.update({"X-Rate-Limit-Limit": "0", "X-Rate-Limit-Remaining": "0"})
        return response

    return Fault("concurrent", inject)


def html(status: int) -> Fault:
    """Answer with a gateway's HTML page, which has a date but none of Okta's headers."""

    async def inject(exchange: "Exchange") -> web.Response:
        response = exchange.add_okta_headers(_page(status, _reason(status)))
        for name in [name for name in response.headers if name.startswith(("X-Rate-Limit", "X-Okta"))]:
            del response.headers[name]
        return response

    return Fault(f"html_{status}", inject)


def bare(status: int) -> Fault:
    """Answer with a status and an empty body, without `Date` and without Okta's headers."""

    async def inject(_: "Exchange") -> web.Response:
        response = web.Response(status=status)
        response[wire.BARE] = True
        return response

    return Fault(f"bare_{status}", inject)


def redirect(to: str = _PORTAL, status: int = 302) -> Fault:
    """Redirect the client to another host, to which it must not send its token."""

    async def inject(exchange: "Exchange") -> web.Response:
        response = _page(status, _reason(status))
        response.headers["Location"] = to
        return exchange.add_okta_headers(response)

    return Fault("redirect", inject)


def login_page() -> Fault:
    """Answer 200 with the login page of a captive portal."""

    async def inject(_: "Exchange") -> web.Response:
        return _page(200, "Log in")

    return Fault("login_page", inject)


def _page(status: int, title: str) -> web.Response:
    return web.Response(status=status, text=_HTML.format(title), content_type="text/html")


def _reason(status: int) -> str:
    return web.Response(status=status).reason
