"""Serving the events of a file."""

import json
from pathlib import Path

import pytest

from oktawatch.simulator import EventsFileError, SimulatedOrg, load_events
from tests.support.logclient import NOW, Clock
from tests.support.shared import shared_data

LINES = (
    '{"uuid":"a","published":"2026-11-01T08:00:30.500Z","eventType":"x"}',
    '{"uuid":"b","published":"2026-11-01T08:00:00Z","eventType":"x"}',
    "",
    '{"uuid":"c","published":"2026-11-01T10:00:10+02:00","eventType":"x","actor":{"displayName":"\\ud800\\u0000"}}',
)


@pytest.fixture
def events_file(tmp_path: Path) -> Path:
    """Return a file of three events whose times are out of order."""
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(LINES) + "\n", "utf-8")
    return path


def served(path: Path, *, keep_times: bool) -> SimulatedOrg:
    """Return an org that holds the file's events."""
    org = SimulatedOrg(now=Clock())
    org.extend(load_events(path, now=NOW, keep_times=keep_times))
    return org


def test_times_are_shifted_together(events_file: Path) -> None:
    """The newest event is published now, and the others keep their distances and contents."""
    org = served(events_file, keep_times=False)
    assert [(event["uuid"], event["published"]) for event in org.events] == [
        ("a", "2026-11-24T08:00:00.000Z"),
        ("b", "2026-11-24T07:59:29.500Z"),
        ("c", "2026-11-24T07:59:39.500Z"),
    ]
    assert org.events[2]["actor"] == {"displayName": "\ud800\x00"}


def test_times_can_be_kept(events_file: Path) -> None:
    """With original times, each event is served unchanged, in the file's order."""
    org = served(events_file, keep_times=True)
    assert org.events == [json.loads(line) for line in LINES if line]


def test_a_future_event_is_visible_at_once(tmp_path: Path) -> None:
    """With kept times, an event of the year 2099 is visible at once, and so are the following events."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"published":"2099-01-01T00:00:00Z"}\n{"published":"2026-11-01T00:00:00Z"}\n', "utf-8")
    assert len(served(path, keep_times=True)) == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"uuid":"a"}', "published is not an ISO 8601 time"),
        ('{"published":5}', "published is not an ISO 8601 time"),
        ('{"published":"yesterday"}', "published is not an ISO 8601 time"),
    ],
)
def test_a_bad_line_is_reported_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    """The error is one line with the file, the line and what is expected."""
    path = tmp_path / "events.ndjson"
    path.write_text(f"{LINES[0]}\n\n{line}\n", "utf-8")
    with pytest.raises(EventsFileError) as error:
        load_events(path, now=NOW)
    assert str(error.value).startswith(f"{complaint} ({path}, line 3): ")


def test_times_too_far_apart_are_refused(tmp_path: Path) -> None:
    """Events of the first and of the last year can't be shifted together, so the file is refused."""
    path = tmp_path / "events.ndjson"
    path.write_text('{"published":"0001-01-02T00:00:00Z"}\n{"published":"9999-01-01T00:00:00Z"}\n', "utf-8")
    with pytest.raises(EventsFileError, match="use --keep-times"):
        load_events(path, now=NOW)
    assert len(load_events(path, now=NOW, keep_times=True)) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error has the path and the system's reason."""
    path = tmp_path / "absent.ndjson"
    with pytest.raises(EventsFileError) as error:
        load_events(path, now=NOW)
    assert str(error.value) == f"can't read the events ({path}): No such file or directory"


def test_an_empty_file_creates_an_org_without_events(tmp_path: Path) -> None:
    """An empty file makes an org without events."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n")
    assert len(served(path, keep_times=False)) == 0


def test_published_events_are_served_unchanged() -> None:
    """Published events are served unchanged except for their times."""
    path = shared_data("published_okta_events.ndjson")
    given = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    moved = served(path, keep_times=False).events
    assert [event | {"published": None} for event in moved] == [
        event | {"published": None} for event in given
    ]
    assert moved[-1]["published"] == "2026-11-24T08:00:00.000Z"
