"""Next links that are missing, or that lead nowhere, for ever: a middlebox removes, caches or repeats answers."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange
    from oktawatch.simulator.org import Page, SimulatedOrg
    from oktawatch.simulator.query import Query

_counter = itertools.count(1)


def strip_links() -> Fault:
    """Remove the `Link` header, from bounded answers too."""

    async def commit(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        response.headers.popall("Link", None)
        return response

    return Fault("strip_links", commit)


def circle() -> Fault:
    """Link a page to itself under a new URL each time."""
    return _linked("circle", _again)


def self_linked() -> Fault:
    """Name the request's own URL as the next one."""
    return _linked("self_linked", lambda path: path)


def hollow() -> Fault:
    """Send an empty list, with a link to the same place under a new URL."""
    return _linked("hollow", _again, body=b"[]")


def cap(limit: int = 2) -> Fault:
    """Serve at most so many events, and name that limit in the next link."""

    async def commit(exchange: "Exchange") -> "web.Response":
        def read(org: "SimulatedOrg", asked: "Query") -> "Page":
            return org.page(replace(asked, limit=min(limit, asked.limit)))

        return await exchange.answer(read)

    return Fault("cap", commit)


def _again(path: str) -> str:
    return f"{path}&again={next(_counter)}"


def _linked(name: str, link: Callable[[str], str], body: bytes | None = None) -> Fault:
    async def commit(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        request = exchange.request
        path = request.raw_path.partition("&again=")[0]
        if response.headers.popall("Link", None):
            response.headers.add("Link", f'<{request.scheme}://{request.host}{link(path)}>; rel="next"')
        if body is not None:
            response.headers.pop("Content-Encoding", None)
            response.body = body
        return response

    return Fault(name, commit)
