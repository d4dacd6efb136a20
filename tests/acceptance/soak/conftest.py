"""Which database a seed runs on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import Kind, Place, place_of


@pytest.fixture
def one_place(seed: int, tmp_path: Path) -> Iterator[Place]:
    """Give every fifth seed Postgres, the others SQLite: the faults are Okta's, not the database's."""
    kinds = list(Kind)
    with place_of(kinds[-1] if seed % 5 == 4 else kinds[0], tmp_path) as made:
        yield made
