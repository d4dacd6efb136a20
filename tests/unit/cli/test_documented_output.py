"""docs/triage.md shows what the commands print on a terminal of 80 columns."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.engine.routing import Route
from oktawatch.model.cursor import Cursor
from oktawatch.model.event import Event
from oktawatch.store.cursors import move_cursor
from oktawatch.store.daemons import DaemonRow, write_daemon
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, place_of
from tests.support.streams import event, page
from tests.unit.cli.conftest import Done

DOCUMENT = Path(__file__).parents[3] / "docs" / "triage.md"
BLOCK = re.compile(r"```text\n\$ oktawatch ([^\n]*)\n(.*?)```\n", re.DOTALL)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
SPACE = re.compile(r"^ *SIZE +FREE DATABASE *\n *[\d.]+ [KMG]iB [\d.]+ [KMG]iB /.*$", re.MULTILINE)
"""The table with the size of the database and the free space, which depend on the machine."""
DAEMON = DaemonRow(
    name="web-1",
    version="0.1.0",
    started_at=NOW - timedelta(days=3),
    seen_at=NOW - timedelta(seconds=12),
    state="watching 1 org",
)
BROWSER = {"rawUserAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) ExampleBrowser/119.0"}
HOME = {
    "ipAddress": "198.51.100.9",
    "userAgent": BROWSER,
    "geographicalContext": {"city": "Boston", "country": "United States"},
}
AWAY = {
    "ipAddress": "203.0.113.7",
    "userAgent": BROWSER,
    "geographicalContext": {"city": "Oslo", "country": "Norway"},
}
DIRECT = {"isProxy": False, "asNumber": 64496, "asOrg": "Example Cable"}
VPN = {
    "isProxy": True,
    "asNumber": 64500,
    "asOrg": "Example Hosting",
    "ipDetails": {"ipServiceCategories": [{"operator": "NORD_VPN", "type": "VPN", "isAnonymous": True}]},
}
EVE = {"id": "00u2", "alternateId": "eve@example.com", "displayName": "Eve Moss"}
ABEL = {"id": "00u3", "alternateId": "abel@example.com", "displayName": "Abel Reed"}
RELAY = {
    "isProxy": True,
    "ipDetails": {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY", "isAnonymous": True}]},
}


def sign_in(number: int, hours: float, result: str, **changes: Any) -> Event:
    """Build a sign-in some hours after noon, by default Nora's over a VPN."""
    failed = {"reason": "INVALID_CREDENTIALS"} if result == "FAILURE" else {}
    defaults: dict[str, Any] = {
        "client": AWAY,
        "securityContext": VPN,
        "outcome": {"result": result} | failed,
    }
    return event(number, at=timedelta(hours=hours), **defaults | changes)


@pytest.fixture(autouse=True)
def sign_ins(folder: Path) -> Iterator[None]:
    """Nora works at home, then fails twice over a VPN and gets in. Eve fails over the VPN. Abel uses Apple's relay."""
    events = [
        sign_in(day, -24 * (9 - day), "SUCCESS", client=HOME, securityContext=DIRECT) for day in range(1, 9)
    ]
    events += [
        sign_in(
            20,
            -3,
            "SUCCESS",
            actor=ABEL,
            client=HOME | {"ipAddress": "2001:db8:99::3"},
            securityContext=RELAY,
        ),
        sign_in(21, -2, "FAILURE"),
        sign_in(22, -1.99, "FAILURE"),
        sign_in(23, -1.98, "SUCCESS"),
        sign_in(24, -1, "FAILURE", actor=EVE),
    ]
    with (
        time_machine.travel(NOW, tick=False),
        place_of(Kind.SQLITE, folder) as place,
        open_database(place) as database,
    ):
        watch = Watch(org="acme", rules=build_rules({}, read_file=str), routes=(Route(notifier="log"),))
        to = Cursor(filter="", began_at=NOW, query="/", last_caught_up_at=NOW - timedelta(seconds=12))
        commit_page(
            database,
            watch,
            page(events),
            notify=True,
            advance=lambda moves, _: move_cursor(moves, None, to),
            now=NOW,
        )
        write_daemon(database, DAEMON)
        yield


def shown(call: Callable[..., Done], command: str) -> str:
    """Return what a command prints on a terminal of 80 columns, without colours."""
    out = ESCAPES.sub("", call(*shlex.split(command)).out)
    out, found = SPACE.subn(
        "    SIZE    FREE DATABASE\n12.3 MiB 5.2 GiB /var/lib/oktawatch/oktawatch.db", out
    )
    assert found == (command == "status")
    return "".join(f"{line.rstrip()}\n" for line in out.splitlines())


def test_the_commands_print_what_is_documented(
    call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands print the documented output; set OKTAWATCH_WRITE_DOCS=1 to regenerate it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = DOCUMENT.read_text("utf-8")
    printed = BLOCK.sub(lambda block: f"```text\n$ oktawatch {block[1]}\n{shown(call, block[1])}```\n", text)
    if "OKTAWATCH_WRITE_DOCS" in os.environ:
        DOCUMENT.write_text(printed, "utf-8")
    assert text == printed
    commands = [block[1].split(" -")[0] for block in BLOCK.finditer(text)]
    assert {" ".join(command.split()[:2]) for command in commands} >= {
        "alerts list", "alerts show", "status", "user nora@example.com", "ip 203.0.113.7", "notifications list",
        "explain",
    }  # fmt: skip
