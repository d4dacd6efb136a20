"""The summary of `run --once` and `backfill`."""

import pytest

from oktawatch.cli.summary import print_summary, summarize
from oktawatch.engine.pipeline import PageResult


@pytest.mark.parametrize(
    ("rejected", "allowed", "notes"),
    [
        (0, 0, []),
        (1, 1, ["1 match was allowed", "1 event could not be used"]),
        (2, 3, ["3 matches were allowed", "2 events could not be used"]),
    ],
)
def test_allowed_matches_and_unusable_events_are_noted(
    rejected: int, allowed: int, notes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes below the table have the numbers of allowed matches and of unusable events, in singular or plural."""
    result = PageResult(pages=1, events=9, rejected=rejected, allowed=allowed)
    print_summary(summarize([("acme", result, None)]))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(notes)
    assert all(note in line for note, line in zip(notes, lines, strict=True))
