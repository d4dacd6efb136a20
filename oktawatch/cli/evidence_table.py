"""Print the sources of evidence, for `evidence list` and `status`."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oktawatch.cli.output import note, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oktawatch.engine.evidence_files import SourceState


def source_rows(states: "Sequence[SourceState]", now: datetime) -> list[dict[str, Any]]:
    """Return the sources as JSON objects."""
    from oktawatch.model.timestamps import to_text

    def age(moment: datetime | None) -> float | None:
        return None if moment is None else max((now - moment).total_seconds(), 0.0)

    return [
        {
            "name": state.file.name,
            "state": state.word,
            "fetched": state.fetched,
            "path": str(state.file.path),
            "format": state.file.format,
            "kind": state.file.kind if state.file.format == "networks" else None,
            "operator": state.file.operator,
            "contents": state.contents,
            "size": state.size,
            "modified_at": to_text(state.modified_at) if state.modified_at else None,
            "checked_at": to_text(state.checked_at) if state.checked_at else None,
            "age_seconds": age(state.checked_at),
            "problem": state.problem,
        }
        for state in states
    ]


def print_sources(rows: list[dict[str, Any]]) -> None:
    """Print the sources as a table, and their problems to standard error."""
    from oktawatch.model.durations import approximate_text

    def cells(row: dict[str, Any]) -> list[object]:
        seconds = row["age_seconds"]
        age = "" if seconds is None else approximate_text(timedelta(seconds=int(seconds)))
        return [row["name"], row["state"], row["kind"], row["operator"], row["contents"], age]

    columns = ("SOURCE", "STATE", "KIND", "OPERATOR", "CONTENTS", "AGE")
    print_table(columns, map(cells, rows), numbers=("AGE",), whole=("SOURCE", "STATE"))
    for row in rows:
        if row["problem"]:
            note(f"{'warning' if row['fetched'] else 'error'}: {row['name']}: {row['problem']}")
