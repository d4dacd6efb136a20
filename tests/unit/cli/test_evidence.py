"""``oktawatch evidence list`` shows each source with its size and age."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

SOURCES = """
[[evidence.sources]]
name = "exits"
path = "exits.txt"
kind = "tor"
operator = "Tor"
"""


def configure(folder: Path) -> None:
    """Add a source to the configuration."""
    path = folder / "oktawatch.toml"
    path.write_text(path.read_text("utf-8") + SOURCES, "utf-8")


@pytest.mark.usefixtures("folder")
def test_without_sources(call: Call) -> None:
    """The list is empty, not an error."""
    assert call("evidence", "list", "--json").json == []
    assert call("evidence", "list").code == 0


def test_a_list_of_networks(folder: Path, call: Call) -> None:
    """With what an address in it is, its size and its age."""
    configure(folder)
    (folder / "exits.txt").write_text("198.51.100.7\n2001:db8::/64\n")
    os.utime(folder / "exits.txt", (1_793_520_000, 1_793_520_000))
    (row,) = call("evidence", "list", "--json").json
    assert row == {
        "name": "exits",
        "path": str(folder / "exits.txt"),
        "format": "networks",
        "kind": "tor",
        "operator": "Tor",
        "contents": "2 networks",
        "modified_at": "2026-11-01T08:00:00.000Z",
        "problem": None,
    }
    assert "2 networks" in call("evidence", "list").out


def test_a_source_that_cannot_be_used(folder: Path, call: Call) -> None:
    """Is listed with the reason, and exit 1."""
    configure(folder)
    done = call("evidence", "list")
    assert (done.code, done.err) == (1, "error: exits: can't read it: No such file or directory\n")
    (folder / "exits.txt").write_text("nowhere\n")
    (row,) = call("evidence", "list", "--json").json
    assert row["problem"] == "line 1: expected an address range such as 192.0.2.0/24"


def test_a_command_that_evaluates_events_refuses_it(folder: Path, call: Call) -> None:
    """Naming the key and the file; other commands don't load it."""
    configure(folder)
    done = call("run", "--once")
    assert done.code == 2
    assert "evidence.sources" in done.err
    assert "exits.txt: can't read it: No such file or directory" in done.err
    assert call("rules", "list").code == 0
