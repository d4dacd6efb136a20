"""``oktawatch evidence`` lists each source with its size and age, and fetches those with a URL."""

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from oktawatch.model.timestamps import to_text, utc_now
from tests.support.http import receiving
from tests.support.publisher import Publisher
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

SOURCES = """
[[evidence.sources]]
name = "NAME"
path = "exits.txt"
kind = "tor"
operator = "Tor"
"""


def configure(folder: Path, name: str = "exits") -> None:
    """Add a source to the configuration."""
    path = folder / "oktawatch.toml"
    path.write_text(path.read_text("utf-8") + SOURCES.replace("NAME", name), "utf-8")


@pytest.mark.usefixtures("folder")
def test_the_list_without_sources_is_empty(call: Call) -> None:
    """Without sources, the list is empty and the exit code 0."""
    assert call("evidence", "list", "--json").json == []
    assert call("evidence", "list").code == 0


def test_a_source_is_listed_with_its_kind_size_and_age(folder: Path, call: Call) -> None:
    """A source is listed with its kind, size and age."""
    configure(folder)
    (folder / "exits.txt").write_text("198.51.100.7\n2001:db8::/64\n")
    os.utime(folder / "exits.txt", (1_793_520_000, 1_793_520_000))
    (row,) = call("evidence", "list", "--json").json
    age = row["age_seconds"]
    assert age > 86_400
    assert row == {
        "name": "exits",
        "state": "ok",
        "fetched": False,
        "path": str(folder / "exits.txt"),
        "format": "networks",
        "kind": "tor",
        "operator": "Tor",
        "contents": "2 networks",
        "size": 2,
        "modified_at": "2026-11-01T08:00:00.000Z",
        "checked_at": "2026-11-01T08:00:00.000Z",
        "age_seconds": age,
        "problem": None,
    }
    assert "2 networks" in call("evidence", "list").out


def test_an_unusable_source_is_listed_with_its_reason(folder: Path, call: Call) -> None:
    """An unusable source is listed with the reason, and the exit code is 1."""
    configure(folder)
    done = call("evidence", "list")
    assert (done.code, done.err) == (1, "error: exits: can't read it: No such file or directory\n")
    (folder / "exits.txt").write_text("nowhere\n")
    (row,) = call("evidence", "list", "--json").json
    assert row["problem"] == "line 1: expected an address range such as 192.0.2.0/24"


def test_a_command_that_evaluates_events_refuses_an_unusable_source(folder: Path, call: Call) -> None:
    """The error names the key and the file, and other commands don't load the file."""
    configure(folder)
    done = call("run", "--once")
    assert done.code == 2
    assert "evidence.sources" in done.err
    assert "exits.txt: can't read it: No such file or directory" in done.err
    assert call("rules", "list").code == 0


@pytest.fixture
def publisher(folder: Path) -> Iterator[Publisher]:
    """Serve a list of two addresses, and configure its URL with ``url_file``."""
    with receiving(receiver=Publisher("198.51.100.7\n198.51.100.8\n", etag='"one"')) as receiver:
        assert isinstance(receiver, Publisher)
        (folder / "exits.url").write_text(f"{receiver.url}?key=invented-licence-key")
        path = folder / "oktawatch.toml"
        source = '[[evidence.sources]]\nname = "exits"\nurl_file = "exits.url"\nkind = "tor"\n'
        path.write_text(source + path.read_text("utf-8"), "utf-8")
        yield receiver


def test_a_source_that_was_not_fetched_is_listed_as_missing(publisher: Publisher, call: Call) -> None:
    """A source that was not fetched is listed as missing, and commands work without it."""
    done = call("evidence", "list")
    assert (done.code, done.err) == (1, "warning: exits: not fetched yet\n")
    assert "missing" in done.out
    assert "evidence_missing" in call("run", "--once").err
    assert publisher.received == []


@pytest.mark.usefixtures("publisher")
def test_an_update_fetches_the_source_once(folder: Path, call: Call) -> None:
    """The first update fetches the source, and the second finds it unchanged. The list has its size and age."""
    done = call("evidence", "update", "exits")
    assert (done.code, done.out.splitlines()[1].split()) == (0, ["exits", "updated", "2", "networks"])
    assert call("evidence", "update", "--json").json == [
        {"name": "exits", "result": "unchanged", "contents": "2 networks", "problem": None}
    ]
    (row,) = call("evidence", "list", "--json").json
    assert (row["state"], row["fetched"], row["size"]) == ("ok", True, 2)
    assert row["path"] == str(folder / "evidence" / "exits")
    assert 0 <= row["age_seconds"] < 60


def test_a_failed_update_is_reported_in_one_line(publisher: Publisher, call: Call) -> None:
    """A failed update prints one line without the URL and exits with 1. The source is kept, and listed as failing."""
    call("evidence", "update")
    publisher.publish("<html>")
    done = call("evidence", "update")
    problem = "the server sent a web page instead of the file"
    assert (done.code, done.err) == (1, f"error: exits: {problem}\n")
    listed = call("evidence", "list")
    assert (listed.code, listed.err) == (1, f"warning: exits: {problem}\n")
    assert listed.out.splitlines()[1].split()[:5] == ["exits", "failing", "tor", "2", "networks"]
    assert "invented-licence-key" not in done.out + done.err + listed.out + listed.err


def test_listing_needs_no_permission_to_read_the_url(folder: Path, publisher: Publisher, call: Call) -> None:
    """Like other secrets, the URL is read only by commands that need it."""
    call("evidence", "update")
    (folder / "exits.url").unlink()
    assert call("evidence", "list").code == 0
    done = call("evidence", "update")
    assert done.code == 2
    assert "evidence.sources[#1].url_file" in done.err
    assert len(publisher.received) == 1


@pytest.mark.usefixtures("publisher")
def test_updating_an_unknown_source_is_a_usage_error(folder: Path, call: Call) -> None:
    """Updating an unknown source, or a source with a path, is a usage error."""
    configure(folder, "offices")
    done = call("evidence", "update", "nowhere")
    assert (done.code, done.err) == (2, "error: no such source (nowhere): there are: exits\n")
    done = call("evidence", "update", "offices")
    assert (done.code, done.err) == (
        2,
        "error: nothing to fetch (offices): this source has a path, not a URL\n",
    )


def test_status_shows_the_sources(publisher: Publisher, call: Call) -> None:
    """`status` shows each source's size, age and problem."""
    assert call("db", "upgrade").code == 0
    call("evidence", "update")
    publisher.publish("")
    call("evidence", "update")
    done = call("status")
    (line,) = [line.split() for line in done.out.splitlines() if line.startswith("exits")]
    assert line[:-1] == ["exits", "failing", "tor", "2", "networks"]
    assert re.fullmatch(r"\d\d?s", line[-1])
    assert "warning: exits: the fetched file is empty\n" in done.err
    (row,) = call("status", "--json").json["evidence"]
    assert (row["name"], row["state"], row["size"]) == ("exits", "failing", 2)


def test_check_warns_about_sources(publisher: Publisher, call: Call) -> None:
    """A missing or failing source is a warning of `check`."""

    def finding() -> list[str]:
        findings = call("check", "--json").json["findings"]
        (found,) = [found for found in findings if found["about"] == "evidence exits"]
        return [found["verdict"], found["message"]]

    assert finding() == [
        "warning",
        "not fetched yet: 'oktawatch run' or 'oktawatch evidence update' fetches it",
    ]
    call("evidence", "update")
    today = utc_now().date()
    assert finding() == ["ok", f"2 networks, fetched on {today}"]
    publisher.publish("")
    call("evidence", "update")
    assert finding() == [
        "warning",
        f"2 networks, fetched on {today}, still in use. The last update failed: the fetched file is empty",
    ]


def test_a_stale_source_is_listed_as_stale(folder: Path, publisher: Publisher, call: Call) -> None:
    """A source that was last fetched three days ago is listed as stale, and `check` warns about it."""
    call("evidence", "update")
    state = folder / "evidence" / "exits" / "state.json"
    recorded = json.loads(state.read_text())
    recorded["checked_at"] = to_text(utc_now() - timedelta(days=3))
    state.write_text(json.dumps(recorded))
    listed = call("evidence", "list")
    assert listed.code == 1
    assert listed.out.splitlines()[1].split() == ["exits", "stale", "tor", "2", "networks", "3d"]
    (found,) = [row for row in call("check", "--json").json["findings"] if row["about"] == "evidence exits"]
    assert found["verdict"] == "warning"
    assert found["message"].endswith(", is stale: 'oktawatch evidence update' fetches it")
    assert len(publisher.received) == 1
