"""Corrupted bodies, with status 200 and with the headers and links of Okta's answer."""

import gzip
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import wire
from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange


def empty() -> Fault:
    """Send an empty body."""
    return _replaced("empty", b"")


def not_a_list() -> Fault:
    """Send a JSON object instead of a list."""
    return _replaced("not_a_list", b'{"events":[]}')


def bomb(elements: int = 20_000) -> Fault:
    """Send a compressed list of many empty objects."""
    return _replaced("bomb", b"[" + b",".join([b"{}"] * elements) + b"]", compressed=True)


def cut_short() -> Fault:
    """Send half of the JSON with correct HTTP framing, as if a middlebox had dropped the rest."""

    async def inject(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        body = wire.body_of(response)
        if response.headers.pop("Content-Encoding", None) is not None:
            body = gzip.decompress(body)
        response.body = body[: len(body) // 2]
        return response

    return Fault("cut_short", inject)


def cut_off() -> Fault:
    """Close the connection in the middle of the body."""
    return _misframed("cut_off", lambda body: (body[: len(body) // 2], len(body)))


def longer_than_declared() -> Fault:
    """Send one byte more than Content-Length, then close the connection."""
    return _misframed("longer_than_declared", lambda body: (body, len(body) - 1))


def shorter_than_declared() -> Fault:
    """Send one byte less than Content-Length, then close the connection."""
    return _misframed("shorter_than_declared", lambda body: (body, len(body) + 1))


def _replaced(name: str, body: bytes, *, compressed: bool = False) -> Fault:
    async def inject(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        response.headers.pop("Content-Encoding", None)
        response.body = gzip.compress(body) if compressed else body
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        return response

    return Fault(name, inject)


def _misframed(name: str, frame: Callable[[bytes], tuple[bytes, int]]) -> Fault:
    async def inject(exchange: "Exchange") -> None:
        response = await exchange.answer()
        body, length = frame(wire.body_of(response))
        wire.send(exchange, wire.head(response, length) + body)

    return Fault(name, inject)
