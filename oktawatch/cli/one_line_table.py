"""A table with one line for each row, cut to the width of the terminal.

Columns that hold what people paste (ids, times) keep their width. The others give way, the widest first,
down to their least width, and end in "…" where they are cut. Where even that is too wide, columns that a
reader can do without are left out, from the right. A file or a pipe gets every column whole.
"""

from collections.abc import Sequence

from msgspec import Struct

from oktawatch.cli.output import cell, console, shown

_GAP = 1
"""Spaces between two columns."""


class Column(Struct, frozen=True, kw_only=True):
    """How one column is laid out."""

    heading: str
    right: bool = False
    """Whether its values stand on the right, as numbers do."""
    least: int | None = None
    """How narrow it may become, in cells; None: it keeps its width."""
    optional: bool = False
    """Whether it may be left out on a narrow terminal."""


def print_one_line_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """Print rows, each a value for every column."""
    from rich.cells import cell_len
    from rich.text import Text

    texts = [[shown(value) for value in row] for row in rows]
    natural = [
        max(cell_len(column.heading), *(cell_len(row[place]) for row in texts), 1)
        for place, column in enumerate(columns)
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
    """Return the width of each column, 0 for one that is left out, so that a row fits ``total`` cells.

    ``natural`` are the widths at which nothing is cut. A row of columns that neither give way nor may be
    left out can still be wider than ``total``.
    """
    widths = list(natural)

    def excess() -> int:
        used = [width + _GAP for width in widths if width]
        return sum(used) - _GAP - total

    least = [
        width if column.least is None else min(column.least, width)
        for column, width in zip(columns, natural, strict=True)
    ]
    for left_out in (None, *_optional_places(columns)):
        if left_out is not None and excess() > 0:
            widths[left_out] = 0
        while excess() > 0:
            spare = [
                (width - low, place) for place, (width, low) in enumerate(zip(widths, least, strict=True))
            ]
            most, place = max(spare)
            if most <= 0:
                break
            widths[place] -= 1
    return widths


def _optional_places(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in reversed(list(enumerate(columns))) if column.optional]
