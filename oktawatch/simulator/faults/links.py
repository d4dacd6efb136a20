"""Next links that are missing, never advance or carry another limit, as when a middlebox changes answers."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange
    from oktawatch.simulator.org import Org, Page
    from oktawatch.simulator.query import Query

_counter = itertools.count(1)


def strip_links() -> Fault:
    """Remove the `Link` header, also from the answers to bounded requests."""

    async def inject(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        response.headers.popall("Link", None)
        return response

    return Fault("strip_links", inject)


def circle() -> Fault:
    """Link each page to itself, with a new URL each time."""
    return _linked("circle", _again)


def self_linked() -> Fault:
    """Send the request's own URL as the next link."""
    return _linked("self_linked", lambda path: path)


def hollow() -> Fault:
    """Send an empty list, linked to itself with a new URL each time."""
    return _linked("hollow", _again, body=b"[]")


def cap(limit: int = 2) -> Fault:
    """Return at most `limit` events, and put that limit into the next link."""

    async def inject(exchange: "Exchange") -> "web.Response":
        def read(org: "Org", requested: "Query") -> "Page":
            return org.page(replace(requested, limit=min(limit, requested.limit)))

        return await exchange.answer(read)

    return Fault("cap", inject)


def _again(path: str) -> str:
    return f"{path}&again={next(_counter)}"


def _linked(name: str, link: Callable[[str], str], body: bytes | None = None) -> Fault:
    async def inject(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        request = exchange.request
        path = request.raw_path.partition("&again=")[0]
        if response.headers.popall("Link", None):
            response.headers.add("Link", f'<{request.scheme}://{request.host}{link(path)}>; rel="next"')
        if body is not None:
            response.headers.pop("Content-Encoding", None)
            response.body = body
        return response

    return Fault(name, inject)
