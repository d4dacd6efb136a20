"""A channel of somebody else's is made as docs/notifications.md says."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from oktawatch.config import NotifierSettings
from oktawatch.notify import channel
from oktawatch.notify.channel import Way, make_channel
from tests.support.outbox import Receiver


class PagerChannel(Receiver):
    """Keeps how it was made."""

    def __init__(self, settings: NotifierSettings, way: Way) -> None:
        super().__init__()
        self.made_of = (settings, way)


def test_it_gets_its_settings_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point whose name is the notifier's type; a proxy's password is not shown with it."""
    package = ModuleType("acme_pager")
    package.__dict__["PagerChannel"] = PagerChannel
    monkeypatch.setitem(sys.modules, "acme_pager", package)

    def installed(*, group: str, name: str) -> list[EntryPoint]:
        return [EntryPoint(name, "acme_pager:PagerChannel", group)]

    monkeypatch.setattr(channel, "entry_points", installed)
    settings = NotifierSettings(type="log", name="night")
    way = Way(proxy="http://watcher:hunter2@proxy.example.com:3128")

    made: Any = make_channel(settings, way)

    assert made.made_of == (settings, way)
    assert "hunter2" not in f"{way} {way!r}"
