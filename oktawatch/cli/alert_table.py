"""Print alerts as a table with one line per alert, or as CSV."""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from oktawatch.cli.one_line_table import Column, print_one_line_table

_COLUMNS = (
    Column(heading="ID", right=True),
    Column(heading="UTC"),
    Column(heading="SEV"),
    Column(heading="STATUS"),
    Column(heading="WHO", min_width=12),
    Column(heading="✗ ✓"),
    Column(heading="ADDRESS", min_width=15, optional=True),
    Column(heading="COUNTRY", min_width=7, optional=True),
    Column(heading="EVT", right=True, optional=True),
)
_WIDE_COLUMNS = (
    *(Column(heading=column.heading, right=column.right) for column in _COLUMNS),
    Column(heading="ORG"),
    Column(heading="TITLE"),
)
_SHORT_STATUSES = {"acknowledged": "ack"}
_OMITTED_FROM_CSV = ("context", "events")  # too long for a cell
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet runs a cell that begins with one of these as a formula. The last four are full-width signs."""


def print_alerts(alerts: Sequence[Mapping[str, Any]], *, wide: bool = False) -> None:
    """Print one line per alert. Alerts are JSON objects. ``wide`` adds org and title, and does not shorten values."""
    columns = _WIDE_COLUMNS if wide else _COLUMNS
    rows = [(*_cells(alert), alert["org"], alert["title"])[: len(columns)] for alert in alerts]
    first_column = 0 if all("id" in alert for alert in alerts) else 1  # a dry run's alerts have no ids
    print_one_line_table(columns[first_column:], [row[first_column:] for row in rows])


def print_csv(alerts: Sequence[Mapping[str, Any]]) -> None:
    """Print alerts as CSV, without context and events."""
    for line in csv_lines(alerts):
        sys.stdout.write(f"{line}\n")


def csv_lines(alerts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line with the columns' names, then a line per alert, without line ends. Without alerts, yield nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")  # quotes cells that contain \r or \n
    for number, alert in enumerate(alerts):
        values = {name: value for name, value in alert.items() if name not in _OMITTED_FROM_CSV}
        if number == 0:
            yield _csv_line(writer, buffer, values)
        yield _csv_line(writer, buffer, map(_csv_cell, values.values()))


def outcome_counts(failures: int, successes: int) -> str:
    """Return counts of outcomes, such as ``✗3 ✓1``."""
    counts = (("✗", failures), ("✓", successes))
    return " ".join(f"{mark}{count}" for mark, count in counts if count)


def short_time(text: str) -> str:
    """Return month, day, hour and minute of a canonical timestamp. An empty text stays empty."""
    return f"{text[5:10]} {text[11:16]}".strip()


def who(alert: Mapping[str, Any]) -> str:
    """Return the login of an alert's actor. Without a login, return the display name or id."""
    return alert["actor_alternate_id"] or alert["actor_display_name"] or alert["actor_id"] or ""


def _cells(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        alert.get("id"),
        short_time(alert["last_event_at"]),
        alert["severity"],
        _SHORT_STATUSES.get(alert["status"], alert["status"]),
        who(alert),
        outcome_counts(alert["failures"], alert["successes"]),
        alert["client_ip"],
        alert["country"],
        alert["event_count"],
    )


def _csv_line(writer: Any, buffer: io.StringIO, cells: Iterable[Any]) -> str:
    writer.writerow(cells)
    line = buffer.getvalue().removesuffix("\r\n")
    buffer.seek(0)
    buffer.truncate()
    return line


def _csv_cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value
