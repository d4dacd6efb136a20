"""A simulated Okta org on loopback. Shares no code with the rooms that it tests.

    org = SimulatedOrg(token="…")
    org.follow(build(["anonymizing-vpn"], start=datetime.now(UTC)))
    async with serve(org) as url: ...       # or, for callers that block: with running(org) as url: ...

Instead of the scenarios' people: `org.extend(generate(1_000_000, end=…))` for a great many sign-ins,
`org.extend(load_events(path, now=…))` for given ones, `org.persist(event)` for one.
"""

from .bulk import generate
from .org import Request, SimulatedOrg
from .replay import EventsFileError, load_events
from .scenarios import SCENARIOS, Scenario, build
from .server import running, serve

__all__ = [
    "SCENARIOS",
    "EventsFileError",
    "Request",
    "Scenario",
    "SimulatedOrg",
    "build",
    "generate",
    "load_events",
    "running",
    "serve",
]
