"""A simulated Okta org on loopback. It shares no code with the packages under test.

    org = SimulatedOrg(token="…")
    org.play(build(["anonymizing-vpn"], start=datetime.now(UTC)))
    async with serve(org) as url: ...       # synchronous callers: with running(org) as url: ...

Other sources of events: `org.extend(generate(1_000_000, end=…))` for many sign-ins,
`org.extend(load_events(path, now=…))` for the events of a file, `org.persist(event)` for a single event.

`org.oauth.register(ServiceApp(…))` registers an OAuth service app; `org.oauth.revoke()` revokes all access tokens.

Faults: `org.faults` (see `faults`), `org.cursors.forget()`, late events (`Late`, and `delay` for a stream), `broken`
events, and other clients that use the rate limit (`others=`, `org.budget.spend`).
"""

from . import broken, faults
from .bulk import generate
from .late import Late, delay
from .oauth import ServiceApp
from .replay import EventsFileError, load_events
from .scenarios import SCENARIOS, Scenario, build
from .server import running, serve
from .simulated import Request, SimulatedOrg

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
