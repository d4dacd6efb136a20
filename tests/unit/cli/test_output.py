"""Tables in a file or a pipe."""

import pytest

from oktawatch.cli.output import print_fields, print_table


def test_columns_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned with wide characters, and lines have no trailing spaces."""
    print_table(
        ("NAME", "N", "WHERE"),
        [("日本", 1, "Tokyo"), ("Nora", 22, None), ("a\nb", None, "x" * 300)],
        numbers=("N",),
    )

    assert capsys.readouterr().out.splitlines() == [
        r"NAME       N  WHERE",
        r"日本       1  Tokyo",
        r"Nora      22",
        r"a\u000ab      " + "x" * 300,
    ]


def test_fields_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has a name and its value, and without fields nothing is printed."""
    print_fields([("id", 7), ("title", "日本")])
    print_fields([])

    assert capsys.readouterr().out.splitlines() == ["id     7", "title  日本"]
