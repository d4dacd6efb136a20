"""Connections that break or stall."""

import socket
import struct
from typing import TYPE_CHECKING

from . import wire
from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The value of `SO_LINGER` that makes the kernel send RST instead of FIN."""


def reset() -> Fault:
    """Reset the connection before the answer."""

    async def inject(exchange: "Exchange") -> None:
        transport = exchange.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()

    return Fault("reset", inject)


def close() -> Fault:
    """Close the connection without an answer."""

    async def inject(exchange: "Exchange") -> None:
        wire.send(exchange, b"")

    return Fault("close", inject)


def hang(then: Fault | None = None) -> Fault:
    """Hang until the client disconnects or a test calls `org.faults.hangs.release()`.

    A released request gets the fault `then`, or by default Okta's answer.
    """

    async def inject(exchange: "Exchange") -> "web.StreamResponse | None":
        await exchange.hangs.hang()
        return await (exchange.answer() if then is None else then.inject(exchange))

    return Fault("hang", inject)


def stall() -> Fault:
    """Send half of the answer, then hang. Close the connection when the request is released."""

    async def inject(exchange: "Exchange") -> None:
        response = await exchange.answer()
        body = wire.body_of(response)
        wire.write(exchange, wire.head(response, len(body)) + body[: len(body) // 2])
        await exchange.hangs.hang()
        wire.send(exchange, b"")

    return Fault("stall", inject)
