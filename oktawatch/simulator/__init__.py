"""A simulated Okta org on loopback. Shares no code with the rooms that it tests.

org = SimulatedOrg(token="…")
org.extend(generate(1000, end=datetime.now(UTC)))
async with serve(org) as url: ...       # or, for callers that block: with running(org) as url: ...
"""

from .bulk import generate
from .org import Request, SimulatedOrg
from .server import running, serve

__all__ = ["Request", "SimulatedOrg", "generate", "running", "serve"]
