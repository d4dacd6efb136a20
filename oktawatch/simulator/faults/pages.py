"""Pages that are well-formed and still not what one would like: the System Log promises none of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .fault import Fault

if TYPE_CHECKING:
    from aiohttp import web

    from oktawatch.simulator.exchange import Exchange
    from oktawatch.simulator.org import Page, SimulatedOrg
    from oktawatch.simulator.query import Query


def short(at_most: int = 1) -> Fault:
    """Let a page hold fewer events than were asked for, though more are waiting behind its next link."""

    def read(org: "SimulatedOrg", asked: "Query") -> "Page":
        page = org.page(replace(asked, limit=min(at_most, asked.limit)))
        return page if page.next is None else replace(page, next=replace(page.next, limit=asked.limit))

    return _read("short", read)


def repeat() -> Fault:
    """Let the first event of a page stand in it again, at its end."""

    def read(org: "SimulatedOrg", asked: "Query") -> "Page":
        page = org.page(asked)
        return replace(page, bodies=page.bodies + page.bodies[:1])

    return _read("repeat", read)


def overlap(count: int = 3) -> Fault:
    """Let the last events of a page, so many but never all, come again on the next one."""

    def read(org: "SimulatedOrg", asked: "Query") -> "Page":
        page = org.page(asked)
        if page.next is None or len(page.bodies) <= 1:
            return page
        kept = max(1, len(page.bodies) - count)
        earlier = org.page(replace(asked, limit=kept))
        return replace(page, next=earlier.next and replace(earlier.next, limit=asked.limit))

    return _read("overlap", read)


def contradict() -> Fault:
    """Let each page's first event be followed by another body with the same uuid and time. The first is true."""

    def read(org: "SimulatedOrg", asked: "Query") -> "Page":
        page = org.page(asked)
        return replace(page, bodies=page.bodies[:1] + _contradictions(page.bodies[:1]) + page.bodies[1:])

    return _read("contradict", read)


def unlinked() -> Fault:
    """Leave a poll's next link away; a bounded request keeps its, whose absence would say that nothing follows."""

    def read(org: "SimulatedOrg", asked: "Query") -> "Page":
        page = org.page(asked)
        return replace(page, next=None) if asked.is_polling else page

    return _read("unlinked", read)


def elsewhere(origin: str = "https://elsewhere.example.net") -> Fault:
    """Let the next link lead to another host, where a token must not follow."""

    async def commit(exchange: "Exchange") -> "web.Response":
        response = await exchange.answer()
        for line in response.headers.popall("Link", []):
            path = line[line.index("/api/") :]
            response.headers.add("Link", f"<{origin}{path}" if line.endswith('rel="next"') else line)
        return response

    return Fault("elsewhere", commit)


def _read(name: str, read: "Callable[[SimulatedOrg, Query], Page]") -> Fault:
    async def commit(exchange: "Exchange") -> "web.Response":
        return await exchange.answer(read)

    return Fault(name, commit)


def _contradictions(bodies: list[bytes]) -> list[bytes]:
    try:
        events: list[Any] = [json.loads(body) for body in bodies]
    except (ValueError, RecursionError):
        return []
    return [json.dumps(_other(event)).encode() for event in events if isinstance(event, dict)]


def _other(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event with the same uuid and times, but of somebody else, who failed, unhidden where it was hidden."""
    proxied = isinstance(told := event.get("securityContext"), dict) and told.get("isProxy") is True
    return event | {
        "actor": {"id": "00u00000000000000000", "type": "User", "alternateId": "nobody@example.com"},
        "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
        "securityContext": {"isProxy": not proxied},
    }
