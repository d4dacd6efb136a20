"""Resolve host names so that a slow name delays neither other names nor the exit of the process.

asyncio resolves names in a small shared thread pool, and waits for it at exit. A slow name server for a few orgs would
block the polls of all orgs. Here, each look-up runs in a separate daemon thread. Concurrent look-ups of the same name,
port and address family share a thread, so retries don't add threads.
"""

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_Addresses = list[ResolveResult]
_Query = tuple[str, int, socket.AddressFamily]

_lookups: dict[_Query, "Future[_Addresses]"] = {}
"""The running look-ups of all resolvers in the process."""


class Resolver(AbstractResolver):
    """A resolver for aiohttp's connectors, based on the system's `getaddrinfo`."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> _Addresses:
        """Return the addresses of a host. Raises OSError if there are none."""
        query = (host, port, family)
        lookup = _lookups.get(query) or _start_lookup(query)
        return await asyncio.wrap_future(lookup)

    async def close(self) -> None:
        """Do nothing: the threads can't be interrupted, and end by themselves."""


def _start_lookup(query: _Query) -> "Future[_Addresses]":
    lookup = _lookups[query] = Future()
    # This makes the future uncancellable: a caller that gives up must not cancel the look-up for other callers.
    lookup.set_running_or_notify_cancel()

    def run() -> None:
        try:
            addresses = _look_up(*query)
        except BaseException as error:  # noqa: BLE001 -- otherwise callers would wait forever
            del _lookups[query]
            lookup.set_exception(error)
        else:
            del _lookups[query]
            lookup.set_result(addresses)

    threading.Thread(target=run, name=f"oktawatch-dns-{query[0]}", daemon=True).start()
    return lookup


def _look_up(host: str, port: int, family: socket.AddressFamily) -> _Addresses:
    infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_with_scope(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]


def _with_scope(address: tuple[Any, ...]) -> str:
    """Return the IP address, with the interface if it is a link-local IPv6 address."""
    scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 -- IPv6: host, port, flow, scope
    return f"{address[0]}%{scope}" if scope else str(address[0])
