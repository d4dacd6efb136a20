"""What a fault is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an org holds a script of faults, and an exchange holds the org
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with a request."""

    name: str
    """As the org's `requests` tell it."""
    commit: "Callable[[Exchange], Awaitable[web.StreamResponse | None]]"
    """Give the answer; None when the connection is broken instead."""
    needs_cursor: bool = False
    """It makes sense only for a request that goes on from a next link."""
