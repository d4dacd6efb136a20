"""Well-formed but inconvenient pages, which the System Log API doesn't rule out."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange
    from oktawatch.simulator.org import Org, Page
    from oktawatch.simulator.query import Query


def short(at_most: int = 1) -> Fault:
    """Return fewer events than the limit, although the next link leads to more."""

    def read(org: "Org", requested: "Query") -> "Page":
        page = org.page(replace(requested, limit=min(at_most, requested.limit)))
        return page if page.next is None else replace(page, next=replace(page.next, limit=requested.limit))

    return _read("short", read)


def repeat() -> Fault:
    """Repeat the first event of each page at its end."""

    def read(org: "Org", requested: "Query") -> "Page":
        page = org.page(requested)
        return replace(page, bodies=page.bodies + page.bodies[:1])

    return _read("repeat", read)


def overlap(count: int = 3) -> Fault:
    """Begin each next page with the last `count` events of the page before it, but never with all of that page's events."""

    def read(org: "Org", requested: "Query") -> "Page":
        page = org.page(requested)
        if page.next is None or len(page.bodies) <= 1:
            return page
        kept = max(1, len(page.bodies) - count)
        earlier = org.page(replace(requested, limit=kept))
        return replace(page, next=earlier.next and replace(earlier.next, limit=requested.limit))

    return _read("overlap", read)


def contradict() -> Fault:
    """Insert a contradicting event, with the same uuid and time, after the first event of each page."""

    def read(org: "Org", requested: "Query") -> "Page":
        page = org.page(requested)
        return replace(page, bodies=page.bodies[:1] + _contradictions(page.bodies[:1]) + page.bodies[1:])

    return _read("contradict", read)


def unlinked() -> Fault:
    """Omit the next link of polls. In a bounded read, a page without a next link is the last one."""

    def read(org: "Org", requested: "Query") -> "Page":
        page = org.page(requested)
        return replace(page, next=None) if requested.is_polling else page

    return _read("unlinked", read)


def elsewhere(origin: str = "https://elsewhere.example.net") -> Fault:
    """Make the next link point to another host. A client must not send its token there."""

    async def inject(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        for line in response.headers.popall("Link", []):
            path = line[line.index("/api/") :]
            response.headers.add("Link", f"<{origin}{path}" if line.endswith('rel="next"') else line)
        return response

    return Fault("elsewhere", inject)


def _read(name: str, read: "Callable[[Org, Query], Page]") -> Fault:
    async def inject(exchange: "Exchange") -> "web.Response":
        return await exchange.answer(read)

    return Fault(name, inject)


def _contradictions(bodies: list[bytes]) -> list[bytes]:
    try:
        events: list[Any] = [json.loads(body) for body in bodies]
    except (ValueError, RecursionError):
        return []
    return [json.dumps(_contradiction(event)).encode() for event in events if isinstance(event, dict)]


def _contradiction(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event with the same uuid and times, another actor, a failed outcome and the opposite `isProxy`."""
    proxied = isinstance(context := event.get("securityContext"), dict) and context.get("isProxy") is True
    return event | {
        "actor": {"id": "00u00000000000000000", "type": "User", "alternateId": "nobody@example.com"},
        "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
        "securityContext": {"isProxy": not proxied},
    }
