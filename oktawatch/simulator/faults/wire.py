"""Raw bytes on the connection, for answers that an HTTP library would never send."""

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from oktawatch.simulator.exchange import Exchange

BARE = web.ResponseKey("bare", bool)
"""Marks an answer without any of Okta's headers, even `Date`, as a middlebox in front of Okta sends it."""


def body_of(response: web.Response) -> bytes:
    """Return the body of an answer as sent."""
    if not isinstance(response.body, bytes | bytearray):
        raise TypeError("the body of an answer must be bytes")
    return bytes(response.body)


def head(response: web.Response, length: int) -> bytes:
    """Return the status line and headers of an answer, with `length` as its Content-Length."""
    headers = response.headers.copy()
    headers["Content-Length"] = str(length)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def write(exchange: "Exchange", data: bytes) -> None:
    """Write bytes to the connection."""
    transport = exchange.request.transport
    if transport is not None:
        transport.write(data)


def send(exchange: "Exchange", data: bytes) -> None:
    """Write bytes to the connection, then close it."""
    write(exchange, data)
    if exchange.request.transport is not None:
        exchange.request.transport.close()
