"""The program in an empty folder, and a simulated org."""

from pathlib import Path

import pytest

from tests.support.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run oktawatch in a folder that is empty."""
    return Program(tmp_path)
