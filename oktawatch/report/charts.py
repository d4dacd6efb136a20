"""Draw charts as SVG elements for a page.

pygal lays out the charts. Its own style sheets and scripts are removed: the page has one style sheet for light and dark,
and no script. Each bar has a title, which browsers show when the pointer is on it.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from msgspec import Struct

if TYPE_CHECKING:
    from pygal.graph.graph import Graph

_SVG = "{http://www.w3.org/2000/svg}"
_LONGEST_LABEL = 24  # characters
_BAR_HEIGHT = 26  # pixels
_FONT = 13  # pixels
_AXIS_TO_LONGEST_BAR = 1.12  # leaves room for the total at the end of the longest bar


class Series(Struct, frozen=True, kw_only=True):
    """The values of one colour in a chart, one for each label."""

    name: str
    """Shown in the titles of bars."""
    css_class: str
    values: Sequence[int]


def columns(
    labels: Sequence[str], series: Sequence[Series], *, width: int, height: int, shown: Collection[int]
) -> ET.Element:
    """Draw stacked vertical bars. ``shown`` contains the indexes of the labels to show."""
    from pygal import StackedBar  # noqa: PLC0415 -- only pages with charts need it

    texts = [label if index in shown else "" for index, label in enumerate(labels)]
    chart = StackedBar(width=width, height=height, **_options(series, margin_bottom=4))
    return _drawn(chart, texts, labels, series)


def bars(labels: Sequence[str], series: Sequence[Series], *, width: int) -> ET.Element:
    """Draw stacked horizontal bars, the first at the top."""
    from pygal import HorizontalStackedBar  # noqa: PLC0415 -- only pages with charts need it

    # pygal draws the first bar at the bottom.
    bottom_up = [
        Series(name=entry.name, css_class=entry.css_class, values=list(reversed(entry.values)))
        for entry in series
    ]
    names = list(reversed(labels))
    height = 40 + _BAR_HEIGHT * len(labels)
    chart = HorizontalStackedBar(
        width=width, height=height, **_options(series, axis_to_longest=_AXIS_TO_LONGEST_BAR)
    )
    root = _drawn(chart, [_shortened(name) for name in names], names, bottom_up)
    _add_totals(root, _sums(bottom_up))
    return root


def _options(series: Sequence[Series], *, axis_to_longest: float = 1, **more: Any) -> dict[str, Any]:
    from pygal.style import Style  # noqa: PLC0415 -- only pages with charts need it

    highest = max(_sums(series), default=0)
    return {
        # Only for the width of labels: the page's style sheet has the fonts and colours.
        "style": Style(label_font_size=_FONT, major_label_font_size=_FONT),
        "show_legend": False,
        "js": (),
        "margin": 10,
        "spacing": 8,
        "max_scale": 5,
        "min_scale": 2,
        "range": (0, max(highest * axis_to_longest, 4)),  # at least 4: no fractions of alerts on the axis
        "value_formatter": lambda value: f"{value:.0f}",
        "disable_xml_declaration": True,
        "no_data_text": "",
        "truncate_label": -1,
    } | more


def _sums(series: Sequence[Series]) -> list[int]:
    """Return the sum of all series for each label."""
    return [sum(values) for values in zip(*(entry.values for entry in series), strict=True)]


def _drawn(
    chart: "Graph", shown: Sequence[str], labels: Sequence[str], series: Sequence[Series]
) -> ET.Element:
    chart.x_labels = shown
    for entry in series:
        chart.add(entry.name, list(entry.values))
    # Parsed again, because pygal builds elements of lxml if that is installed.
    root = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314 -- pygal has just written it
    _clean(root)
    for entry, element in zip(series, _with_class(root, "series", inside="plot"), strict=False):
        element.set("class", f"series {entry.css_class}")
        values = zip(labels, entry.values, strict=True)
        for bar, (label, value) in zip(_with_class(element, "bar"), values, strict=True):
            for part in list(bar):
                if part.tag != "rect":
                    bar.remove(part)
            title = ET.SubElement(bar, "title")
            title.text = f"{label}: {value} {entry.name}"
    return root


def _add_totals(root: ET.Element, totals: Sequence[int]) -> None:
    """Write the sum of each horizontal bar at its end."""
    stacks = zip(*(_with_class(element, "bar") for element in _with_class(root, "series")), strict=True)
    plot = _with_class(root, "plot")[0]
    for stack, total in zip(stacks, totals, strict=True):
        parts = [part for bar in stack for part in bar.iter("rect")]
        end = max(float(part.get("x", 0)) + float(part.get("width", 0)) for part in parts)
        middle = float(parts[0].get("y", 0)) + float(parts[0].get("height", 0)) / 2
        text = ET.SubElement(
            plot, "text", {"x": f"{end + 5:.1f}", "y": f"{middle + 4:.1f}", "class": "total"}
        )
        text.text = f"{total:,}"


def _clean(root: ET.Element) -> None:
    """Remove style sheets, scripts, inline styles, and elements that only pygal's scripts use."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib.pop("style", None)
        element.attrib.pop("id", None)
        for child in list(element):
            name, css_class = child.tag.removeprefix(_SVG), child.get("class", "")
            if name in ("defs", "title") or "overlay" in css_class or "background" in css_class:
                element.remove(child)
    root.attrib.pop("xmlns", None)
    root.set("class", "chart")
    root.set("role", "img")


def _with_class(root: ET.Element, name: str, *, inside: str | None = None) -> list[ET.Element]:
    """Return the elements with a class, in order. ``inside`` limits the search to the first element of that class."""
    if inside is not None:
        root = _with_class(root, inside)[0]
    return [element for element in root.iter() if name in element.get("class", "").split()]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
