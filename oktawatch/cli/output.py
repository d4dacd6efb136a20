"""How results are printed: one JSON document, or tables for people.

What stands in an alert was typed by a stranger, so nothing of it reaches a terminal as it is: a cell
is printable text and never markup.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WIDE = 100_000  # columns where there is no terminal: a table in a file or a pipe is not cut
_SEVERITY_STYLES = {"LOW": "cyan", "MEDIUM": "yellow", "HIGH": "red", "CRITICAL": "bold red"}


def print_json(document: Any) -> None:
    """Print one JSON document, in ASCII: whatever a string holds, it can't act on a terminal."""
    # DEL is the one control character that JSON leaves as it is.
    print(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    from oktawatch.logs import printable

    print(printable(text), file=sys.stderr)


def console(stream: TextIO | None = None) -> "Console":
    """Make a console on a stream, by default standard output."""
    from rich.console import Console

    made = Console(file=stream or sys.stdout, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def cell(value: object) -> "Text":
    """Make a value fit for a table."""
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
    """Print a table; the columns named in ``numbers`` stand on the right.

    Those in ``whole`` are not broken where a terminal is narrow: somebody wants to copy what is in them.
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
    found: list[dict[str, Any]],
    what: str,
    *,
    count: int,
    as_json: bool,
    draw: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Print what was found, as JSON or drawn; say so when there is nothing, or more: ``count`` in all."""
    if as_json:
        print_json(found)
    elif found:
        draw(found)
    else:
        note(f"no {what}")
    if count > len(found):
        note(f"{len(found)} of {count} {what} are shown: --limit shows more")


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
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
    """Print aligned columns: for a file or a pipe, where a table can have any number of rows."""
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
    """Return a value as text that is safe on a terminal; empty text for None."""
    from oktawatch.logs import printable

    return "" if value is None else printable(str(value))
