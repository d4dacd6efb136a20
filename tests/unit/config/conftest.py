"""A folder with a configuration, without the files and variables of this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oktawatch import config
from oktawatch.config import Settings, sources

ORG = '[[orgs]]\nname = "acme"\nurl = "https://acme.okta.com"\ntoken = "00inline"\n'


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "SYSTEM_FILE", tmp_path / "etc" / "oktawatch.toml")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that loads a text, followed by an org, as ./oktawatch.toml. Keywords are environment variables."""

    def from_text(text: str = "", *, orgs: str = ORG, **environ: str) -> Settings:
        (tmp_path / "oktawatch.toml").write_text(f"{text}\n{orgs}", encoding="utf-8")
        return config.load(environ=environ, cwd=tmp_path)

    return from_text
