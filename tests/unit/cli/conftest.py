"""A folder with a configuration and a database, and the command line called in this process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from oktawatch.cli.main import main
from oktawatch.config import sources
from oktawatch.engine import people

CONFIGURATION = """\
[rules."Okta.Anonymizing.VPN.Login"]
dedup_period = "90m"

[[orgs]]
name = "acme"
url = "http://127.0.0.1:9"
token = "00secret-token"
"""


class Done(NamedTuple):
    """The exit code and output of a command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed as one JSON document."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with oktawatch.toml, without this machine's configuration; reset logging afterwards.

    Searches for sign-ins have a minute, because a loaded machine can find less in 0.2 s.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "SYSTEM_FILE", tmp_path / "etc" / "oktawatch.toml")
    monkeypatch.setattr(people, "PATIENCE_S", 60.0)
    monkeypatch.delenv("OKTAWATCH_CONFIG", raising=False)
    (tmp_path / "oktawatch.toml").write_text(CONFIGURATION, "utf-8")
    yield tmp_path
    structlog.reset_defaults()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs a command line in the folder."""

    def run(*words: str) -> Done:
        code = main(words)
        return Done(code, *capsys.readouterr())

    return run
