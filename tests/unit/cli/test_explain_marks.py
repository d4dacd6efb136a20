"""The lines of ``oktawatch explain`` about conditions and the severity."""

import io

import pytest

from oktawatch.cli.explain import _lines, _marks
from oktawatch.detection.explain import Condition
from oktawatch.engine.explain import Verdict


class _Stream(io.TextIOWrapper):
    """A stream that may be a terminal."""

    def __init__(self, encoding: str, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._is_terminal


@pytest.mark.parametrize(
    ("encoding", "is_terminal", "marks"),
    [
        ("utf-8", True, ("✓", "✗")),
        ("UTF8", True, ("✓", "✗")),
        ("ascii", True, ("met:", "not met:")),
        ("utf-8", False, ("met:", "not met:")),
    ],
)
def test_only_a_utf_8_terminal_gets_symbols(
    encoding: str, is_terminal: bool, marks: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, pipes and terminals with other encodings get words."""
    monkeypatch.setenv("TERM", "xterm")
    assert _marks(_Stream(encoding, is_terminal=is_terminal)) == marks


@pytest.mark.parametrize(
    ("recorded", "line"),
    [
        (None, "Severity LOW: commercial VPN, familiar to this person"),
        ("LOW", "Severity LOW: commercial VPN, familiar to this person"),
        (
            "HIGH",
            "Severity HIGH when it was recorded. Now it would be LOW: commercial VPN, familiar to this person",
        ),
    ],
)
def test_the_severity_has_reasons(recorded: str | None, line: str) -> None:
    """A severity that was recorded with other reasons is shown as recorded, and as it would be now."""
    verdict = Verdict(
        rule_id="Example",
        enabled=True,
        recorded=recorded is not None,
        recorded_severity=recorded,
        conditions=[Condition("It holds", holds=True)],
        severity="LOW",
        severity_reasons=("commercial_vpn", "familiar to this person"),
    )
    assert list(_lines(verdict, ("+", "-")))[2] == f"  {line}"
