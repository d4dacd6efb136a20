"""The page of a report in headless Chromium, on light and dark displays, wide and narrow.

Needs Debian's package chromium: `make system` runs these tests. With OKTAWATCH_SCREENSHOTS=FOLDER, pictures are kept.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from oktawatch.report.page import report_page
from oktawatch.report.summary import summarize
from tests.support.browser import Tab, open_tab
from tests.unit.report.facts import HOSTILE, RULES, SINCE, UNTIL, month

WIDTHS = {"desktop": 1280, "phone": 375}
LEAST_CONTRAST = 4.5  # WCAG AA
SMALLEST = 9  # pixels

TEXTS = """
(() => {
  const color = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (rgb) => rgb
    .map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = getComputedStyle(at).backgroundColor;
      if (found !== "rgba(0, 0, 0, 0)" && !(at instanceof SVGElement)) return found;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || element.tagName === "title" || !box.width) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const svg = drawn ? element.ownerSVGElement : null;
    const frame = drawn ? svg.getBoundingClientRect() : null;
    const scale = drawn ? frame.width / svg.viewBox.baseVal.width : 1;
    const pair = [luminance(color(drawn ? style.fill : style.color)), luminance(color(background(element)))];
    found.push({
      text: element.textContent.slice(0, 40),
      contrast: (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05),
      size: parseFloat(style.fontSize) * scale,
      cut: drawn && (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1),
    });
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a month."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    summary = summarize(month(), since=SINCE, until=UNTIL)
    path.write_text(report_page(summary, RULES, now=UNTIL), "utf-8")
    return path


@pytest.mark.parametrize("display", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_can_be_read(file: Path, tmp_path: Path, scheme: str, display: str) -> None:
    """Every text has enough contrast and size, nothing is cut off, and the page does not scroll sideways."""
    async with open_tab(tmp_path) as tab:
        await tab.show(width=WIDTHS[display], height=900, scheme=scheme)
        await tab.open(file)
        await _keep_screenshot(tab, f"report-{display}-{scheme}.png")
        texts: list[dict[str, Any]] = await tab.evaluate(TEXTS)
        width = await tab.evaluate("document.documentElement.scrollWidth")
        page = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert len(texts) > 200
    assert [text for text in texts if text["contrast"] < LEAST_CONTRAST] == []
    assert [text for text in texts if text["size"] < SMALLEST] == []
    assert [text for text in texts if text["cut"]] == []
    assert width <= WIDTHS[display]
    assert page == {"light": "rgb(245, 246, 248)", "dark": "rgb(16, 20, 26)"}[scheme]


async def test_the_page_runs_and_loads_nothing(file: Path, tmp_path: Path) -> None:
    """Names with markup are shown as text, the browser requests nothing and reports no error."""
    async with open_tab(tmp_path) as tab:
        await tab.open(file)
        assert await tab.evaluate("typeof hacked") == "undefined"
        assert await tab.evaluate("document.scripts.length + document.images.length") == 0
        shown = await tab.evaluate("[...document.querySelectorAll('bdi')].map((one) => one.textContent)")
        assert HOSTILE in shown
    requests = [event for event in tab.events if event["method"] == "Network.requestWillBeSent"]
    assert [event["params"]["request"]["url"] for event in requests] == [file.as_uri()]
    assert not [
        event for event in tab.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]


async def _keep_screenshot(tab: Tab, name: str) -> None:
    if folder := os.environ.get("OKTAWATCH_SCREENSHOTS"):
        await tab.screenshot(await asyncio.to_thread(Path(folder).joinpath, name))
