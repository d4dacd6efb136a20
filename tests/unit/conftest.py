"""Unit tests start no Postgres server."""

import pytest

from tests.support.places import Kind, Place


@pytest.fixture
def kind() -> Kind:
    """Refuse tests on both databases."""
    raise AssertionError("a test on both databases is an integration test: move it to tests/integration")


@pytest.fixture
def place(kind: Kind) -> Place:  # noqa: ARG001 -- the fixture refuses
    """Refuse tests on both databases."""
    raise AssertionError
