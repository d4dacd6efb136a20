"""Fixtures and profiles that every test shares."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import Kind, Place, place_of
from tests.support.properties import register_profiles

register_profiles()

# A shell's background jobs ignore SIGINT, and every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=list(Kind), scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each kind of database in turn: a test that uses one runs on both."""
    found: Kind = request.param
    return found


@pytest.fixture
def place(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Yield a place for a database, with nothing in it yet."""
    with place_of(kind, tmp_path) as made:
        yield made
