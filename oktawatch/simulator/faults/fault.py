"""The type of all faults."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange


@dataclass(frozen=True)
class Fault:
    """A fault that can be injected into a request."""

    name: str
    """The name in `SimulatedOrg.requests`."""
    inject: "Callable[[Exchange], Awaitable[web.StreamResponse | None]]"
    """Answer the request with the fault. Return the answer, or None after breaking the connection."""
    needs_cursor: bool = False
    """Whether the fault applies only to requests with a cursor."""
