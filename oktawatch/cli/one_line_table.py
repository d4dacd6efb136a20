"""A table with one line per row, cut to the width of the terminal.

Columns with a minimum width are shortened, and cut values end in "…". If the table would still be too wide, optional
columns are left out, from the right. The other columns, such as ids to copy, keep their width. In a file or a pipe,
every column is complete.
"""

from collections.abc import Sequence
from typing import NamedTuple

from oktawatch.cli.output import cell, console, shown

_GAP = 1
"""Spaces between two columns."""


class Column(NamedTuple):
    """The layout of a column."""

    heading: str
    right: bool = False
    """Whether values are aligned right, like numbers."""
    min_width: int | None = None
    """The width in cells to which the column can be shortened. None: the column keeps its width."""
    optional: bool = False
    """Whether the column may be left out on a narrow terminal."""


def print_one_line_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """Print rows. Each row has one value per column."""
    from rich.cells import cell_len
    from rich.text import Text

    texts = [[shown(value) for value in row] for row in rows]
    natural = [
        max(cell_len(column.heading), *(cell_len(row[index]) for row in texts), 1)
        for index, column in enumerate(columns)
    ]
    screen = console()
    widths = fitted_widths(columns, natural, screen.width) if screen.is_terminal else natural
    headings = [column.heading for column in columns]
    for number, row in enumerate([headings, *texts]):
        line = Text(style="bold" if number == 0 else "", no_wrap=True, end="")
        for column, width, text in zip(columns, widths, row, strict=True):
            if width:
                part = cell(text)
                part.truncate(width, overflow="ellipsis")
                padding = " " * (width - part.cell_len)
                line.append_text(Text(padding) + part if column.right else part + Text(padding))
                line.append(" " * _GAP)
        line.rstrip()
        screen.print(line, soft_wrap=True)


def fitted_widths(columns: Sequence[Column], natural: Sequence[int], total: int) -> list[int]:
    """Return the width of each column, 0 for a column that is left out, so that a row fits ``total`` cells.

    ``natural`` contains the widths of the uncut columns. A row can still be wider than ``total`` if its columns can be
    neither shortened nor left out.
    """
    minimum = [
        width if column.min_width is None else min(column.min_width, width)
        for column, width in zip(columns, natural, strict=True)
    ]
    widths = list(natural)
    for index in _optional_indexes(columns):
        if _row_width([low for low, width in zip(minimum, widths, strict=True) if width]) <= total:
            break
        widths[index] = 0
    while _row_width([width for width in widths if width]) > total:
        # Shorten the column that is farthest above its minimum width.
        spare, index = max(
            (width - low, index)
            for index, (width, low) in enumerate(zip(widths, minimum, strict=True))
            if width
        )
        if spare <= 0:
            break
        widths[index] -= 1
    return widths


def _row_width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _optional_indexes(columns: Sequence[Column]) -> list[int]:
    return [index for index, column in reversed(list(enumerate(columns))) if column.optional]
