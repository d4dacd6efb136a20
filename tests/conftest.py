"""Fixtures and profiles shared by all tests."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import Kind, Place, place_of
from tests.support.properties import register_profiles

register_profiles()

# As in the program. With Python's default, collecting garbage takes 7 % of the processor time of tests like those of the engine.
gc.set_threshold(20_000)

# A shell's background jobs ignore SIGINT, and nohup's programs SIGHUP. Every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `-n auto`. Tests wait for other processes about as long as they compute."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the tests that only wait first, so that the others compute meanwhile. At the end, the cores would be idle.

    Each worker starts with one part of the list. These tests begin both halves, so that of four workers, two compute.
    """
    waiting = [item for item in items if item.get_closest_marker("waits")]
    others = [item for item in items if not item.get_closest_marker("waits")]
    half = len(others) // 2
    items[:] = [*waiting[::2], *others[:half], *waiting[1::2], *others[half:]]


def pytest_collection_finish() -> None:
    """Exempt the modules and collected tests from garbage collection, which would traverse them again and again."""
    gc.freeze()


@pytest.fixture(params=list(Kind), scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each kind of database in turn, so that tests with this fixture run on both."""
    database_kind: Kind = request.param
    return database_kind


@pytest.fixture
def place(kind: Kind, tmp_path: Path) -> Iterator[Place]:
    """Yield a place with an empty database that has the current schema."""
    with place_of(kind, tmp_path) as empty_place:
        yield empty_place
