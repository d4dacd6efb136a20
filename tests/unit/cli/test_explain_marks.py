"""The marks of ``oktawatch explain`` for conditions that are met and not met."""

import io

import pytest

from oktawatch.cli.explain import _marks


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
