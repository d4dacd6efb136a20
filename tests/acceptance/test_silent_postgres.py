"""The daemon with a Postgres server that keeps connections open without responding."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import STOPS_WITHIN, Daemon, until
from tests.support.places import Kind, Place, place_of
from tests.support.postgres import proxied_server
from tests.support.stalling import StallingProxy, stalling


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[Place, StallingProxy]]:
    """Yield a proxy for a server, and the database URL through it."""
    with place_of(Kind.POSTGRES, tmp_path) as made:
        upstream, by_proxy = proxied_server(made.url)
        with stalling(upstream) as proxy:
            yield Place(made.kind, tmp_path, by_proxy(proxy.port)), proxy


@pytest.mark.parametrize("when", ["watching", "starting"])
def test_the_daemon_stops_in_time(proxy: tuple[Place, StallingProxy], when: str) -> None:
    """The daemon stops in time if the server stops responding before the start or later."""
    place, stalled = proxy
    org = SimulatedOrg()
    with running(org) as url:
        text = f'[poll]\ninterval = "1s"\n[[orgs]]\nname = "acme"\nurl = "{url}"\ntoken = "{org.token}"\n'
        if when == "starting":
            stalled.stall()
        with Daemon(place, text + '[service]\nlog_format = "json"\n') as daemon:
            if when == "watching":
                daemon.wait_for_message("READY=1")
                stalled.stall()
                until(lambda: stalled.held > 0, "a statement without an answer")
            daemon.logged("daemon_starting")
            code, seconds = daemon.stop()
    assert (code, seconds < STOPS_WITHIN) == (0, True), seconds
