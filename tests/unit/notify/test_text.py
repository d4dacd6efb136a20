"""Strangers' text in a message has no effect in any renderer."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oktawatch.notify.text import harmless
from tests.support.hostile_text import hostile

ACTIVE = "<>[]`*|~\\#"


@given(hostile, st.integers(1, 300))
@example("ops@hereeve@evil.example.org/login", 19)
def test_any_text_becomes_harmless(text: str, limit: int) -> None:
    """The text has no control characters, mentions, Markdown, tags or links, and a limited length."""
    rendered = harmless(text, limit)

    assert rendered.isprintable()
    assert len(rendered) <= limit
    assert not set(ACTIVE) & set(rendered)
    assert "://" not in rendered
    assert not re.search(
        r"(?:^|\s)@|@(?:everyone|here|channel|all)\b|\bwww\.|(?:javascript|mailto|data):\S", rendered
    )
    assert not re.search(r"(?<![^\W_])_|_(?![^\W_])", rendered)
    addresses_apart = re.sub(r"[\w.%+-]+@[\w.-]+(?![\w/:?#.])", "", rendered)
    assert not re.search(r"[^\W_]\.[^\W\d_]", addresses_apart)


@given(hostile)
def test_harmless_text_is_unchanged_by_another_pass(text: str) -> None:
    """Harmless text stays the same after Unicode normalization and another pass."""
    rendered = harmless(text)

    assert harmless(unicodedata.normalize("NFC", rendered)) == rendered


def test_a_bare_host_does_not_become_a_link() -> None:
    """The dots of a bare host are replaced, so that it is not a link. The dots of an e-mail address are kept."""
    assert harmless("go to evil.example.org/login now") == "go to evil\u2024example\u2024org/login now"
    assert harmless("eve@evil.example.org") == "eve@evil.example.org"
    assert harmless("ops@eve@evil.example.org") == "ops@eve@evil\u2024example\u2024org"


@pytest.mark.parametrize(
    "text", ["nora@example.com", "Nora Vale", "2001:db8::7", "203.0.113.7", "john_doe", "Zoë O'Neil-Ivanova", "AS64500 Example Net"]
)  # fmt: skip
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Ordinary text is unchanged in messages."""
    assert harmless(text) == text
