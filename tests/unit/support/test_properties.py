"""The number of examples of a property."""

import pytest
from hypothesis import settings

from tests.support.properties import QUICK, THOROUGH, examples


@pytest.mark.parametrize(
    ("profile", "asked", "drawn"), [(QUICK, 100, 20), (QUICK, 7, 2), (THOROUGH, 100, 100)]
)
def test_the_quick_profile_draws_a_fifth_of_the_examples(profile: str, asked: int, drawn: int) -> None:
    """The quick profile draws a fifth, and at least one."""
    kept = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        assert (examples(asked), settings().max_examples) == (drawn, {QUICK: 20, THOROUGH: 100}[profile])
    finally:
        settings.load_profile(kept)
