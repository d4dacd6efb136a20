"""Answers written by hand, for what an HTTP library would never send."""

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from oktawatch.simulator.exchange import Exchange

BARE = web.ResponseKey("bare", bool)
"""Marks the answer of something in front of Okta: none of Okta's headers, not even a `Date`."""


def body_of(response: web.Response) -> bytes:
    """Return the bytes of an answer as they would be sent."""
    if not isinstance(response.body, bytes | bytearray):
        raise TypeError("an answer of the simulated org is made of bytes")
    return bytes(response.body)


def head(response: web.Response, length: int) -> bytes:
    """Return status line and headers, which promise a body of so many bytes."""
    headers = response.headers.copy()
    headers["Content-Length"] = str(length)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def write(exchange: "Exchange", sent: bytes) -> None:
    """Put bytes on the connection."""
    transport = exchange.request.transport
    if transport is not None:
        transport.write(sent)


def send(exchange: "Exchange", sent: bytes) -> None:
    """Put bytes on the connection, and close it after them."""
    write(exchange, sent)
    if exchange.request.transport is not None:
        exchange.request.transport.close()
