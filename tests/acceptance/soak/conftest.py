"""Select the database of each seed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import Kind, Place, place_of


@pytest.fixture
def one_place(seed: int, tmp_path: Path) -> Iterator[Place]:
    """Yield Postgres for every fifth seed and SQLite for the others, because the faults are Okta's and not the database's."""
    kinds = list(Kind)
    with place_of(kinds[-1] if seed % 5 == 4 else kinds[0], tmp_path) as made:
        yield made
