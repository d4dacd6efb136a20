"""Print a report on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.output import console, print_heading, print_text

if TYPE_CHECKING:
    from rich.text import Text

    from oktawatch.report.summary import Bar, Span, Summary

_BAR_WIDTH = 40
"""The width of the longest bar, in cells."""
_TABLE_BAR_WIDTH = 16
"""The width of the longest bar in a table, in cells."""
_SHORT_STATUSES = {"acknowledged": "ack"}
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_STYLES = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "LOW": "cyan", "INFO": "dim"}


def print_report(summary: "Summary") -> None:
    """Print all parts of a report."""
    from oktawatch.report.text import count, minute

    period = f"{minute(summary.since)} to {minute(summary.until)} UTC"
    print_text(f"Alerts of {', '.join(summary.orgs) or 'all orgs'}, {period}", style="bold")
    if not summary.alerts:
        print_text("None.")
        return
    severities = ", ".join(
        f"{number} {severity}" for severity, number in summary.severities.items() if number
    )
    people = count(summary.people, "person", "people")
    print_text(
        f"{count(summary.alerts, 'alert')} ({severities}) about {people} at "
        f"{count(summary.addresses, 'address', 'addresses')}: {summary.got_in} got in, {summary.open} open"
    )
    _print_spans(summary)
    _print_successes(summary)
    _print_hours(summary.hours)
    _print_bars("Anonymizers", summary.anonymizers)
    _print_bars("Countries", summary.countries)
    _print_bars("Networks", summary.networks)
    _print_bars("People", summary.top_people)
    _print_bars("Addresses", summary.top_addresses)
    _print_rules(summary)


def _print_spans(summary: "Summary") -> None:
    from rich.text import Text

    from oktawatch.model.severity import Severity

    unit = "day" if summary.days_per_span == 1 else "week"
    print_heading(f"By {unit}")
    screen = console()
    legend = Text("            ")
    for severity in reversed(Severity):
        if summary.severities[severity]:
            legend.append("█ ", style=_STYLES[severity.name]).append(f"{severity.name}  ")
    legend.append("✓ got in")
    screen.print(legend)
    highest = max(span.total for span in summary.spans)
    for span in summary.spans:
        line = Text(f"{span.begin:%Y-%m-%d}  ")
        line.append_text(_stacked_bar(span, highest))
        line.append(f" {span.total}" if span.total else "·", style="" if span.total else "dim")
        if span.got_in:
            line.append(f"  ✓{span.got_in}", style="red")
        screen.print(line)


def _stacked_bar(span: "Span", highest: int) -> "Text":
    """Return a bar with one part for each severity, the worst first."""
    from rich.text import Text

    bar, drawn, seen = Text(), 0, 0
    for severity, number in sorted(span.alerts.items(), reverse=True):
        seen += number
        end = -(-_BAR_WIDTH * seen // highest)  # rounded up, so that no bar is empty
        bar.append("█" * (end - drawn), style=_STYLES[severity.name])
        drawn = end
    return bar


def _print_hours(hours: Sequence[int]) -> None:
    print_heading("By hour of the day, UTC")
    highest = max(hours)
    line = "".join(_EIGHTHS[-(-8 * number // highest)] * 2 for number in hours)
    print_text(f"{line}  at most {highest}")
    print_text("".join(f"{hour:<6}" if hour % 3 == 0 else "" for hour in range(24)).rstrip())


def _print_bars(heading: str, found: Sequence["Bar"]) -> None:
    print()
    highest = max(bar.alerts for bar in found)
    columns = (
        Column(heading=heading.upper(), min_width=24),
        Column(heading="ALERTS", right=True),
        Column(heading=""),
        Column(heading="GOT IN", right=True),
        Column(heading="PEOPLE", right=True, optional=True),
        Column(heading="WORST", optional=True),
    )
    rows = [
        (
            bar.label,
            bar.alerts,
            "█" * -(-_TABLE_BAR_WIDTH * bar.alerts // highest),
            bar.got_in or "",
            bar.people,
            bar.worst.name,
        )
        for bar in found
    ]
    print_one_line_table(columns, rows)


def _print_successes(summary: "Summary") -> None:
    from oktawatch.report.summary import anonymizer, who
    from oktawatch.report.text import count, minute

    print_heading("Attempts that got in")
    if not summary.successes:
        print_text("None.")
        return
    columns = (
        Column(heading="ID", right=True),
        Column(heading="FIRST EVENT"),
        Column(heading="SEV"),
        Column(heading="WHO", min_width=16),
        Column(heading="ADDRESS", min_width=15),
        Column(heading="✗", right=True),
        Column(heading="ANONYMIZER", min_width=12),
        Column(heading="STATUS", optional=True),
        Column(heading="COUNTRY", min_width=7, optional=True),
    )
    rows = [
        (
            fact.id,
            minute(fact.first_event_at)[5:],
            fact.severity.name,
            who(fact),
            fact.client_ip,
            fact.failures or "",
            anonymizer(fact),
            fact.disposition or _SHORT_STATUSES.get(fact.status, fact.status),
            fact.country,
        )
        for fact in summary.successes
    ]
    print_one_line_table(columns, rows)
    left_out = summary.got_in - len(rows)
    if left_out:
        print_text(f"And {count(left_out, 'other alert')}: see 'oktawatch alerts list'.")


def _print_rules(summary: "Summary") -> None:
    print_heading("Rules, with the verdicts about their alerts")
    columns = (
        Column(heading="RULE", min_width=16),
        Column(heading="ALERTS", right=True),
        Column(heading="TRUE", right=True),
        Column(heading="BENIGN", right=True),
        Column(heading="FALSE", right=True),
        Column(heading="PRECISION", right=True),
        Column(heading="ADVICE"),
    )
    rows = [
        (
            rule.rule_id,
            rule.alerts,
            rule.true_positive,
            rule.benign,
            rule.false_positive,
            "" if rule.precision_percent is None else f"{rule.precision_percent} %",
            rule.advice.value,
        )
        for rule in summary.rules
    ]
    print_one_line_table(columns, rows)
