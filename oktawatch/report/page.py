"""The page of a report: a self-contained HTML file with charts, for light and dark, wide and narrow displays."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from xml.etree import ElementTree as ET

from oktawatch import __version__
from oktawatch.model.alert_fact import AlertFact
from oktawatch.model.severity import Severity
from oktawatch.report.charts import Series, bars, columns
from oktawatch.report.markup import Child, element, page, stranger
from oktawatch.report.summary import Bar, Summary, anonymizer, who
from oktawatch.report.text import clean, count, minute, short_day

_WIDE, _NARROW = 1060, 400  # pixels: about the widths at which drawings are shown
_HALF_WIDTH = 400
_NO_ALERTS = "No alerts in this period."


def report_page(summary: Summary, rule_names: Mapping[str, str], *, now: datetime) -> str:
    """Return the page of a report. ``rule_names`` maps rule ids to names."""
    title = f"oktawatch report, {summary.since:%Y-%m-%d} to {summary.until:%Y-%m-%d}"
    style = files("oktawatch.report").joinpath("style.css").read_text("utf-8")
    parts: list[ET.Element] = [_header(summary), _tiles(summary)]
    if summary.alerts:
        parts += [
            _days(summary),
            _got_in(summary),
            element(
                "div",
                _hours(summary),
                _bar_section("Anonymizers", summary.anonymizers),
                _bar_section("Countries", summary.countries),
                _bar_section("Networks", summary.networks),
                _people(summary.top_people),
                _addresses(summary.top_addresses),
                css_class="grid",
            ),
            _rules(summary, rule_names),
        ]
    else:
        parts.append(element("section", element("p", _NO_ALERTS)))
    parts.append(element("p", f"oktawatch {__version__}, {minute(now)} UTC", css_class="muted"))
    return page(title, style, element("main", *parts))


def _header(summary: Summary) -> ET.Element:
    orgs: list[Child] = []
    for org in summary.orgs:
        orgs += [", " if orgs else "", stranger(org)]
    period = f"{minute(summary.since)} to {minute(summary.until)} UTC"
    return element(
        "header",
        element("h1", "Sign-in alerts"),
        element("p", *orgs, f"{', ' if orgs else ''}{period}", css_class="muted"),
    )


def _tiles(summary: Summary) -> ET.Element:
    tiles = (
        ("alerts", summary.alerts, ""),
        ("got in", summary.got_in, " got-in"),
        ("open", summary.open, ""),
        ("people", summary.people, ""),
        ("addresses", summary.addresses, ""),
    )
    return element(
        "div",
        *(
            element(
                "div",
                element("b", f"{number:,}"),
                element("span", name, css_class="muted"),
                css_class=f"tile{css}",
            )
            for name, number, css in tiles
        ),
        css_class="tiles",
    )


def _days(summary: Summary) -> ET.Element:
    unit = "day" if summary.days_per_span == 1 else "week"
    labels = [short_day(span.begin) for span in summary.spans]
    shown = [severity for severity in Severity if summary.severities[severity]]
    series = [
        Series(
            name=severity.name,
            css_class=_color(severity),
            values=[span.alerts[severity] for span in summary.spans],
        )
        for severity in shown
    ]
    drawings = []
    for width, height, css_class, max_labels in (
        (_WIDE, 240, "chart wide", 16),
        (_NARROW, 200, "chart narrow", 5),
    ):
        step = -(-len(labels) // max_labels)
        shown_labels = range(len(labels) - 1, -1, -step)
        drawing = columns(labels, series, width=width, height=height, shown=shown_labels)
        drawing.set("class", css_class)
        drawing.set("aria-label", f"Alerts by {unit} and severity")
        drawings.append(drawing)
    legend = ((severity.name, _color(severity), summary.severities[severity]) for severity in reversed(shown))
    return element(
        "section",
        element("h2", f"Alerts by {unit} and severity"),
        _legend(legend),
        *drawings,
    )


def _hours(summary: Summary) -> ET.Element:
    labels = [f"{hour:02}" for hour in range(24)]
    series = [Series(name="alerts", css_class="c-accent", values=summary.hours)]
    drawing = columns(labels, series, width=_HALF_WIDTH, height=200, shown=range(0, 24, 3))
    drawing.set("aria-label", "Alerts by hour of the day")
    return element(
        "section", element("h2", "Time of day"), element("p", "Hour in UTC", css_class="muted"), drawing
    )


def _bar_section(heading: str, found: Sequence[Bar]) -> ET.Element:
    labels = [clean(bar.label) for bar in found]
    series = [
        Series(name="got in", css_class="c-strong", values=[bar.got_in for bar in found]),
        Series(
            name="without a success", css_class="c-accent", values=[bar.alerts - bar.got_in for bar in found]
        ),
    ]
    drawing = bars(labels, series, width=_HALF_WIDTH)
    drawing.set("aria-label", f"Alerts by {heading.lower()}")
    legend = [("got in", "c-strong", None), ("without a success", "c-accent", None)]
    return element("section", element("h2", heading), _legend(legend), drawing)


def _people(found: Sequence[Bar]) -> ET.Element:
    rows = [
        [_text(bar.label), _number(bar.alerts), _number(bar.got_in), element("td", _severity(bar.worst))]
        for bar in found
    ]
    return _table("People", ("Who", "Alerts#", "Got in#", "Worst"), rows)


def _addresses(found: Sequence[Bar]) -> ET.Element:
    rows = [
        [_text(bar.label), _number(bar.people), _number(bar.alerts), _number(bar.got_in)] for bar in found
    ]
    return _table("Addresses", ("Address", "People#", "Alerts#", "Got in#"), rows)


def _got_in(summary: Summary) -> ET.Element:
    heading = "Attempts that got in"
    if not summary.successes:
        text = "None: no alert in this period contains a successful sign-in."
        return element("section", element("h2", heading), element("p", text, css_class="muted"))
    left_out = summary.got_in - len(summary.successes)
    rows = [_success(fact) for fact in summary.successes]
    headings = ("Severity", "Who", "From", "First event", "Failures#", "Anonymizer", "Status", "Alert#")
    section = _table(heading, headings, rows)
    section.insert(
        1,
        element(
            "p",
            "Alerts that also contain failures come first, then the most severe, then the latest.",
            css_class="muted",
        ),
    )
    if left_out:
        section.append(element("p", f"And {count(left_out, 'other alert')}.", css_class="muted"))
    return section


def _success(fact: AlertFact) -> list[ET.Element]:
    place = [stranger(part) for part in (fact.client_ip, fact.country) if part]
    return [
        element("td", _severity(fact.severity)),
        _text(who(fact)),
        element("td", *([place[0], ", ", place[1]] if len(place) > 1 else place), css_class="text"),
        element("td", minute(fact.first_event_at), css_class="line"),
        _number(fact.failures),
        element("td", stranger(anonymizer(fact)), css_class="text"),
        element("td", (fact.disposition or fact.status).replace("_", " "), css_class="line"),
        _number(fact.id),
    ]


def _rules(summary: Summary, names: Mapping[str, str]) -> ET.Element:
    judged = [rule for rule in summary.rules if rule.judged]
    colors = (("true positive", "c-good"), ("benign", "c-info"), ("false positive", "c-strong"))
    parts: list[ET.Element] = []
    if judged:
        values = (
            [rule.true_positive for rule in judged],
            [rule.benign for rule in judged],
            [rule.false_positive for rule in judged],
        )
        series = [
            Series(name=name, css_class=color, values=counts)
            for (name, color), counts in zip(colors, values, strict=True)
        ]
        labels = [clean(names.get(rule.rule_id, rule.rule_id)) for rule in judged]
        drawing = bars(labels, series, width=_HALF_WIDTH)
        drawing.set("aria-label", "Verdicts by rule")
        parts = [
            _legend((name, color, None) for name, color in colors),
            element("div", drawing, css_class="half"),
        ]
    rows = [
        [
            _text(names.get(rule.rule_id, rule.rule_id)),
            element("td", rule.advice.value, css_class="line"),
            element(
                "td",
                "" if rule.precision_percent is None else f"{rule.precision_percent} %",
                css_class="number",
            ),
            _number(rule.judged),
            _number(rule.alerts),
        ]
        for rule in summary.rules
    ]
    section = _table("Rules", ("Rule", "Advice", "Precision#", "Judged#", "Alerts#"), rows)
    note = "Precision is the share of true positives among the alerts that were closed with a verdict."
    section.insert(1, element("p", note, css_class="muted"))
    for index, part in enumerate(parts, start=2):
        section.insert(index, part)
    return section


def _table(heading: str, headings: Iterable[str], rows: Iterable[list[ET.Element]]) -> ET.Element:
    """Return a section with a table. A trailing # in a heading marks a column of numbers."""
    head = element(
        "tr",
        *(
            element("th", name.removesuffix("#"), css_class="number" if name.endswith("#") else "")
            for name in headings
        ),
    )
    table = element("table", element("thead", head), element("tbody", *(element("tr", *row) for row in rows)))
    return element("section", element("h2", heading), element("div", table, css_class="table"))


def _legend(entries: Iterable[tuple[str, str, int | None]]) -> ET.Element:
    return element(
        "ul",
        *(
            element("li", element("i", css_class=color), name if number is None else f"{name} {number:,}")
            for name, color, number in entries
        ),
        css_class="legend",
    )


def _severity(severity: Severity) -> ET.Element:
    return element("span", element("i", css_class=_color(severity)), severity.name, css_class="severity")


def _color(severity: Severity) -> str:
    return f"c-{severity.name.lower()}"


def _text(text: str) -> ET.Element:
    return element("td", stranger(text), css_class="text")


def _number(number: int) -> ET.Element:
    return element("td", f"{number:,}", css_class="number")
