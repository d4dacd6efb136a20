"""What every test shares."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.places import Kind, Place, place_of

# How long an example takes depends on what else the machine does, and decides no property.
settings.register_profile("oktawatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oktawatch")

# A shell's background jobs ignore Ctrl-C, and so would every program that a test starts there and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=list(Kind), scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    """Give each kind of database in turn: whoever uses one is tested on both."""
    found: Kind = request.param
    return found


@pytest.fixture
def place(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Give a place for a database, nothing in it yet."""
    with place_of(kind, tmp_path) as made:
        yield made
