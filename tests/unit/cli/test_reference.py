"""The generated pages of docs/ agree with the code."""

import re
from pathlib import Path

from docs import log_events
from docs.reference import reference

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_reference_is_current() -> None:
    """docs/cli.md has the output of `make docs`."""
    assert (DOCS / "cli.md").read_text("utf-8") == reference(), "run 'make docs'"


def test_the_log_events_are_current() -> None:
    """docs/log-events.md describes exactly the events that the code logs."""
    assert (DOCS / "log-events.md").read_text("utf-8") == log_events.reference(), "run 'make docs'"


def test_every_link_of_the_log_events_has_its_heading() -> None:
    """The sections of docs/operate.md that log events refer to exist."""
    headings = {
        line.lstrip("# ").lower().replace("'", "").replace(" ", "-")
        for line in (DOCS / "operate.md").read_text("utf-8").splitlines()
        if line.startswith("#")
    }
    linked = set(re.findall(r"operate\.md#([\w-]+)", log_events.reference()))
    assert linked
    assert linked <= headings
