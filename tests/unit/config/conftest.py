"""A folder with a configuration, without this machine's own variables."""

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
    """Load a text as ./oktawatch.toml, an org behind it, with variables given as keywords."""

    def from_text(text: str = "", *, orgs: str = ORG, **environ: str) -> Settings:
        (tmp_path / "oktawatch.toml").write_text(f"{text}\n{orgs}", encoding="utf-8")
        return config.load(environ=environ, cwd=tmp_path)

    return from_text
