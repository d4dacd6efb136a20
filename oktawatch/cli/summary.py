"""The summary that `run --once` and `backfill` print."""

from typing import TYPE_CHECKING, Any

from oktawatch.cli.output import note, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oktawatch.engine.pipeline import PageResult

_COLUMNS = {
    "PAGES": "pages",
    "EVENTS": "events",
    "NEW": "new_events",
    "MATCHES": "matches",
    "ALERTS": "alerts",
}


def summarize(orgs: "Iterable[tuple[str, PageResult, str | None]]") -> dict[str, Any]:
    """Return a JSON object with the counts and the error of each org, and the total counts."""
    from oktawatch.engine.pipeline import PageResult

    total = PageResult()
    parts = []
    for org, result, error in orgs:
        total.add(result)
        parts.append({"org": org, **_counts(result), "error": error})
    return {**_counts(total), "orgs": parts}


def print_summary(summary: dict[str, Any]) -> None:
    """Print the result of `summarize` as a table: a row per org, and a total if there are several."""
    rows = summary["orgs"]
    if len(rows) > 1:
        rows = [*rows, {"org": "total", **summary}]
    print_table(
        ("ORG", *_COLUMNS, "BY SEVERITY"),
        [(row["org"], *(row[name] for name in _COLUMNS.values()), _by_severity(row)) for row in rows],
        numbers=tuple(_COLUMNS),
    )
    if summary["allowed"]:
        matches = "1 match was" if summary["allowed"] == 1 else f"{summary['allowed']} matches were"
        note(f"{matches} allowed by [[allow]] entries")
    if summary["rejected"]:
        events = "1 event" if summary["rejected"] == 1 else f"{summary['rejected']} events"
        note(f"{events} could not be used: see the table rejected_events")


def _by_severity(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts["severities"].items())


def _counts(result: "PageResult") -> dict[str, Any]:
    return {
        "pages": result.pages,
        "events": result.events,
        "new_events": result.new_events,
        "rejected": result.rejected,
        "matches": result.matches,
        "allowed": result.allowed,
        "alerts": result.alert_count,
        "severities": {severity.name: count for severity, count in result.severities.items()},
        "notifications": result.notifications,
    }
