"""The page of a report escapes every text, and contains nothing that a browser loads or runs."""

import base64
import hashlib
import re
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oktawatch.model.alert_fact import AlertFact
from oktawatch.model.severity import Severity
from oktawatch.report.page import report_page
from oktawatch.report.summary import summarize
from tests.unit.report.facts import HOSTILE, RULES, SINCE, UNTIL, fact, month

LOADING = {
    "script",
    "img",
    "link",
    "iframe",
    "object",
    "embed",
    "a",
    "base",
    "form",
    "audio",
    "video",
    "use",
    "image",
}


class Page(HTMLParser):
    """Collects the elements of a page, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.policy = ""
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the start of an element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Require that the innermost open element ends."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect a text."""
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)


def page_of(*facts: AlertFact) -> Page:
    """Return the page of these alerts."""
    return Page(report_page(summarize(facts, since=SINCE, until=UNTIL), RULES, now=UNTIL))


def require_harmless(page: Page) -> None:
    """Raise AssertionError unless the page loads nothing and runs nothing."""
    assert not page.tags & LOADING
    assert not {name for name in page.attributes if name.startswith("on") or name in ("style", "href", "src")}
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert (
        page.policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import|http", page.style)


def test_the_page_of_a_month_has_all_parts() -> None:
    """The page has all parts and the names of rules, and shows hostile names as text."""
    facts = month()
    page = page_of(*facts)
    require_harmless(page)
    for heading in (
        "Alerts by day and severity", "Attempts that got in", "Time of day", "Countries", "Networks", "Anonymizers", "People",
        "Addresses", "Rules",
    ):  # fmt: skip
        assert heading in page.texts
    assert RULES["Acme.Own.Rule"] in page.texts
    assert HOSTILE in page.texts
    flood = [one for one in facts if one.first_event_at.date() == date(2026, 10, 15)]
    assert f"15 Oct: {sum(one.severity == Severity.HIGH for one in flood)} HIGH" in page.texts


def test_a_page_without_alerts_is_valid() -> None:
    """The page of a period without alerts says so."""
    page = page_of()
    require_harmless(page)
    assert "No alerts in this period." in page.texts


def test_a_page_without_a_success_states_it() -> None:
    """Without a success, the page says that nobody got in."""
    assert "None: no alert in this period contains a successful sign-in." in page_of(fact()).texts


@pytest.mark.parametrize(
    "text",
    ["", "\x00\x1b[2J", "\ud800", "]]>", "</style><script>", "&lt;", "\u202e\u2028", "𐀀" * 100, "'\"<!--"],
)
def test_any_text_is_shown(text: str) -> None:
    """Any text leaves the page and its charts valid, and characters that can't be shown are replaced."""
    require_harmless(
        page_of(fact(successes=1, actor_alternate_id=text, client_ip=text, country=text, as_org=text, operator=text, org=text, rule_id=text))
    )  # fmt: skip


@given(st.lists(st.text(max_size=30), min_size=8, max_size=8))
def test_no_text_breaks_a_page(texts: list[str]) -> None:
    """Text of strangers is escaped, so that the page loads and runs nothing."""
    login, ip, country, name, operator, org, rule_id, actor_id = texts
    require_harmless(
        page_of(
            fact(successes=1, actor_alternate_id=login, client_ip=ip, country=country, as_org=name, operator=operator, org=org,
                 rule_id=rule_id, actor_id=actor_id, disposition="benign")
        )
    )  # fmt: skip
