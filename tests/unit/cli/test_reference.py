"""docs/cli.md agrees with the commands' help."""

from pathlib import Path

from docs.reference import reference

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_reference_is_current() -> None:
    """docs/cli.md has the output of `make docs`."""
    assert REFERENCE.read_text("utf-8") == reference(), "run 'make docs'"
