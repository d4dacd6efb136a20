"""Stalled, slow and half-closed connections between the daemon and everything that it connects to.

A stalling proxy is in front of Postgres, of each org and of the receiver. When the connections work again, the daemon
continues and nothing is lost. While they stall, the daemon still stops in time. `make soak` runs one seed in fifty. A single
seed is run like a seed of test_soak.
"""

import random
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oktawatch.simulator import SimulatedOrg, running
from oktawatch.store.answer_deadline import ANSWER_WITHIN_S
from oktawatch.systemlog.client import TIMEOUT
from tests.acceptance.crash.world import NAMES, PATIENCE, Life, World
from tests.acceptance.soak.test_soak import FIRST, SEEDS
from tests.support.daemon import STOPS_WITHIN
from tests.support.http import receiving
from tests.support.places import Kind, Place, place_of
from tests.support.postgres import proxied_server
from tests.support.stalling import StallingProxy, stalling

FAULTS = ("stall", "drip", "half_close", "hold_present")
ROUNDS = 8
NOTICED_WITHIN_S = ANSWER_WITHIN_S + TIMEOUT
"""A statement on a stalled connection fails after `ANSWER_WITHIN_S`, and the next request, if it stalls as well, after `TIMEOUT`."""


def port_of(url: str) -> int:
    """Return the port of a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port


def proxied(stack: ExitStack, url: str) -> tuple[StallingProxy, str]:
    """Start a proxy for an HTTP server; return it with its URL."""
    proxy = stack.enter_context(stalling(port_of(url)))
    return proxy, url.replace(f":{port_of(url)}", f":{proxy.port}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FIRST, FIRST + max(1, SEEDS // 50)))
def test_nothing_is_lost_when_connections_stall(seed: int, tmp_path: Path) -> None:
    """The database and the receiver agree with the orgs' own record."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        direct = stack.enter_context(place_of(Kind.POSTGRES, tmp_path))
        upstream, by_proxy = proxied_server(direct.url)
        server = stack.enter_context(stalling(upstream))
        receiver = stack.enter_context(receiving())
        hook, receiver.url = proxied(stack, receiver.url)
        orgs = {name: SimulatedOrg() for name in NAMES}
        ways = {name: proxied(stack, stack.enter_context(running(org))) for name, org in orgs.items()}
        proxies = [server, hook, *(proxy for proxy, _ in ways.values())]
        place = Place(direct.kind, tmp_path, by_proxy(server.port))
        world = World(place, {name: url for name, (_, url) in ways.items()}, orgs, receiver, seed)
        life = Life(world.folder("only"))
        try:
            world.live(3.0, life)
            for _ in range(ROUNDS):
                proxy = rng.choice(proxies)
                getattr(proxy, rng.choice(FAULTS))()
                world.live(rng.uniform(0.5, 3.0), life)
                proxy.flow()
            world.settle(life, patience_s=NOTICED_WITHIN_S + PATIENCE)
            for proxy in proxies:
                proxy.stall()
            world.live(1.5, life)
            begun = time.monotonic()
            assert life.stop() == 0
            seconds = time.monotonic() - begun
            assert seconds < STOPS_WITHIN, world.log()[-5:]
            for proxy in proxies:
                proxy.flow()
            second = Life(world.folder("second"))
            world.settle(second)
            assert second.stop() == 0
            assert world.differences() == []
        finally:
            life.kill()
