"""A folder for rules, and a configuration with one org."""

from pathlib import Path

import pytest

from oktawatch import config
from oktawatch.config import Settings
from tests.support.rule_files import Load

ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00inline"\n'


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration from a text, to which an org is added."""

    def from_text(text: str) -> Settings:
        (tmp_path / "oktawatch.toml").write_text(ORG + text, "utf-8")
        return config.load(environ={}, cwd=tmp_path)

    return from_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for rules."""
    made = tmp_path / "rules"
    made.mkdir()
    return made
