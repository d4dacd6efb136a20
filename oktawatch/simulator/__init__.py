"""A simulated Okta org on loopback. Shares no code with the rooms that it tests.

    org = SimulatedOrg(token="…")
    org.follow(build(["anonymizing-vpn"], start=datetime.now(UTC)))
    async with serve(org) as url: ...       # or, for callers that block: with running(org) as url: ...

Instead of the scenarios' people: `org.extend(generate(1_000_000, end=…))` for a great many sign-ins,
`org.extend(load_events(path, now=…))` for given ones, `org.persist(event)` for one.

An OAuth service app is let in by `org.oauth.register(ServiceApp(…))`; `org.oauth.revoke()` takes its tokens back.

What can go wrong: `org.faults` (see `faults`), `org.cursors.forget()`, events that come late (`Late`, and `delay`
for a stream of them), `broken` events, others who use up the rate limit (`others=`, `org.budget.spend`).
"""

from . import broken, faults
from .bulk import generate
from .late import Late, delay
from .oauth import ServiceApp
from .org import Request, SimulatedOrg
from .replay import EventsFileError, load_events
from .scenarios import SCENARIOS, Scenario, build
from .server import running, serve

__all__ = [
    "SCENARIOS",
    "EventsFileError",
    "Late",
    "Request",
    "Scenario",
    "ServiceApp",
    "SimulatedOrg",
    "broken",
    "build",
    "delay",
    "faults",
    "generate",
    "load_events",
    "running",
    "serve",
]
