"""Resolve host names without one slow name holding up another, or the end of the process.

asyncio resolves names in a few threads that everything in the process shares, and waits for them at exit.
A resolver that takes 10 s for some orgs' names would stop the polls of all. Here each name has a thread of
its own, at most one at a time: whoever asks for the same name meanwhile waits for the same answer. So there
are never more threads than names. They are daemon threads, which a process that exits leaves behind.
"""

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_Addresses = list[ResolveResult]
_Question = tuple[str, int, socket.AddressFamily]

_lookups: dict[_Question, "Future[_Addresses]"] = {}
"""Look-ups under way, for every resolver of the process."""


class Resolver(AbstractResolver):
    """A resolver for aiohttp's connectors, with the system's `getaddrinfo` underneath."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> _Addresses:
        """Return the addresses of a host. Raises OSError when there are none."""
        question = (host, port, family)
        lookup = _lookups.get(question) or _start_lookup(question)
        return await asyncio.wrap_future(lookup)

    async def close(self) -> None:
        """Do nothing: a thread can't be interrupted, and ends by itself."""


def _start_lookup(question: _Question) -> "Future[_Addresses]":
    lookup = _lookups[question] = Future()
    # From here on it can't be cancelled: who gives up must not end it for others.
    lookup.set_running_or_notify_cancel()

    def run() -> None:
        try:
            addresses = _look_up(*question)
        except BaseException as error:  # noqa: BLE001 -- whoever waits would wait for ever
            del _lookups[question]
            lookup.set_exception(error)
        else:
            del _lookups[question]
            lookup.set_result(addresses)

    threading.Thread(target=run, name=f"oktawatch-dns-{question[0]}", daemon=True).start()
    return lookup


def _look_up(host: str, port: int, family: socket.AddressFamily) -> _Addresses:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_with_scope(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in found
    ]


def _with_scope(address: tuple[Any, ...]) -> str:
    """Return the IP address, with the interface that a link-local IPv6 address needs."""
    scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 -- IPv6: host, port, flow, scope
    return f"{address[0]}%{scope}" if scope else str(address[0])
