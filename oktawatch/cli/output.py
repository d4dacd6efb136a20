"""Print results as a JSON document or as tables.

The text of an alert is untrusted: anybody can type it into a sign-in form. So a table cell contains only
printable characters, and is never parsed as markup.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNLIMITED_WIDTH = 100_000  # columns: a table in a file or a pipe is never cut
_SEVERITY_STYLES = {"LOW": "cyan", "MEDIUM": "yellow", "HIGH": "red", "CRITICAL": "bold red"}


def print_json(document: Any) -> None:
    """Print a JSON document in ASCII, so that no string can contain terminal control codes."""
    # JSON does not escape DEL.
    print(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))


def note(text: str) -> None:
    """Print a line to standard error."""
    from oktawatch.logs import printable

    print(printable(text), file=sys.stderr)


def console(stream: TextIO | None = None) -> "Console":
    """Return a console for a stream, by default standard output."""
    from rich.console import Console

    rich_console = Console(file=stream or sys.stdout, highlight=False, emoji=False, markup=False)
    if not rich_console.is_terminal:
        rich_console.width = _UNLIMITED_WIDTH
    return rich_console


def cell(value: object) -> "Text":
    """Return a value as a table cell."""
    from rich.text import Text

    text = shown(value)
    return Text(text, style=_SEVERITY_STYLES.get(text, ""))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print a table. Columns in ``numbers`` are aligned right.

    Columns in ``whole`` are not wrapped on a narrow terminal, so that their values can be copied.
    """
    screen = console()
    if not screen.is_terminal:
        right = [column in numbers for column in columns]
        _print_plain([columns, *rows], right=right)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_number = column in numbers
        table.add_column(
            column,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number or column in whole,
        )
    for row in rows:
        table.add_row(*map(cell, row))
    screen.print(table)


def print_list(
    items: list[dict[str, Any]],
    noun: str,
    *,
    count: int,
    as_json: bool,
    draw: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Print items as JSON or with ``draw``. ``count`` is the total, including items beyond the limit."""
    if as_json:
        print_json(items)
    elif items:
        draw(items)
    else:
        note(f"no {noun}")
    if count > len(items):
        note(f"showing {len(items)} of {count} {noun}: use --limit to show more")


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one name and value per line."""
    screen = console()
    if not screen.is_terminal:
        _print_plain(list(fields), right=(False, False))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, cell(value))
    screen.print(table)


def _print_plain(rows: Sequence[Sequence[object]], *, right: Sequence[bool]) -> None:
    """Print aligned columns for a file or a pipe."""
    from rich.cells import cell_len

    texts = [[shown(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        line = ""
        for text, width, is_right in zip(row, widths, right, strict=True):
            padding = " " * (width - cell_len(text))
            line += f"{padding}{text}  " if is_right else f"{text}{padding}  "
        print(line.rstrip())


def shown(value: object) -> str:
    """Return a value as text that is safe to print on a terminal. None is an empty string."""
    from oktawatch.logs import printable

    return "" if value is None else printable(str(value))


def print_heading(text: str) -> None:
    """Print the heading of a part of a page, after an empty line."""
    print()
    print_text(text, style="bold")


def print_text(text: str, *, style: str = "", indent: int = 0) -> None:
    """Print a text, wrapped at the width of a terminal. All lines but the first begin with ``indent`` spaces."""
    from rich.text import Text

    target = console()
    # All lines are wrapped to the same width. The first line has the start of the text in place of the indent.
    start, rest = shown(text)[:indent], shown(text)[indent:]
    for number, line in enumerate(Text(rest, style=style).wrap(target, target.width - indent)):
        target.print(Text(" " * indent if number else start, style=style) + line)
