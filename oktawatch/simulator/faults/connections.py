"""Connections that break or stand still."""

import socket
import struct
from typing import TYPE_CHECKING

from . import wire
from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange

_AT_ONCE = struct.pack("ii", 1, 0)


def reset() -> Fault:
    """Break the connection hard before an answer: the client's system reports a reset."""

    async def commit(exchange: "Exchange") -> None:
        transport = exchange.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()

    return Fault("reset", commit)


def close() -> Fault:
    """Close the connection without an answer."""

    async def commit(exchange: "Exchange") -> None:
        wire.send(exchange, b"")

    return Fault("close", commit)


def hang(then: Fault | None = None) -> Fault:
    """Give no answer until the client gives up or `org.faults.hangs.release()`: then a good one, or `then`."""

    async def commit(exchange: "Exchange") -> "web.StreamResponse | None":
        await exchange.org.faults.hangs.hang()
        return await (exchange.answer() if then is None else then.commit(exchange))

    return Fault("hang", commit)


def stall() -> Fault:
    """Send half of the answer, then nothing until the client gives up or is released: then close."""

    async def commit(exchange: "Exchange") -> None:
        response = await exchange.answer()
        body = wire.body_of(response)
        wire.write(exchange, wire.head(response, len(body)) + body[: len(body) // 2])
        await exchange.org.faults.hangs.hang()
        wire.send(exchange, b"")

    return Fault("stall", commit)
