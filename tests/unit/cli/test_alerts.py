"""`alerts list` and `alerts show`, with values that strangers typed."""

import csv
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from oktawatch.cli.alert_table import csv_lines, print_alerts
from oktawatch.detection.registry import build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.timestamps import to_text
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, place_of
from tests.support.streams import event, page
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

HOSTILE = "[bold]Eve[/bold] \x1b[2J\u202e\x9b31m\x7f\r\n :skull:"
HOSTILE_LINE = HOSTILE.replace("\r\n", "")
FORMULA = '=HYPERLINK("https://evil.example.com")'
APPLE = {"isProxy": True, "ipDetails": {"ipServiceCategories": [{"operator": "APPLE_ICLOUD_RELAY_PROXY"}]}}


@pytest.fixture
def alerts(folder: Path) -> None:
    """Store three alerts: Nora an hour ago, Eve now and, in another org, Abel from Apple's relay a day ago."""
    rules = build_rules({}, read_file=lambda name: name)
    events = {
        "acme": [
            event(1, at=timedelta(hours=-1), outcome={"result": "FAILURE"}),
            event(2, at=timedelta(minutes=-50), outcome={"result": "SUCCESS"}, securityContext=APPLE),
            event(3, actor={"id": "00u2", "alternateId": "eve@example.com", "displayName": HOSTILE}),
        ],
        "other": [
            event(
                4,
                at=timedelta(days=-1),
                actor={"id": "00u3", "alternateId": "abel@example.com", "displayName": FORMULA},
                client={"ipAddress": "198.51.100.9", "geographicalContext": {"country": "Norway"}},
                securityContext=APPLE | {"asNumber": 64500},
            )
        ],
    }
    with place_of(Kind.SQLITE, folder) as place, open_database(place, *events) as database:
        for org, sent in events.items():
            watch = Watch(org=org, rules=rules)
            commit_page(database, watch, page(sent), notify=False, advance=lambda *_: None, now=NOW)


@pytest.mark.usefixtures("alerts")
def test_list(call: Call) -> None:
    """The list has one line per alert, the latest event first, with its important columns."""
    done = call("alerts", "list")

    heading, first, second, third = done.out.splitlines()
    assert done.code == 0
    assert heading.split() == ["ID", "UTC", "SEV", "STATUS", "WHO", "✗", "✓", "ADDRESS", "COUNTRY", "EVT"]
    assert "eve@example.com" in first
    assert second.split() == ["1", "11-02", "11:10", "HIGH", "open", "nora@example.com", "✗1", "✓1",
                              "203.0.113.7", "2"]  # fmt: skip
    assert "INFO" in third
    assert "Nora Vale <nora@example.com> signed in" in call("alerts", "list", "--wide").out


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_list_fits_the_terminal(call: Call, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Each line fits the terminal, with complete ids and times."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in call("alerts", "list").out.splitlines()]

    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)
    assert [line.split()[:3] for line in lines[1:]] == [
        ["2", "11-02", "12:00"], ["1", "11-02", "11:10"], ["3", "11-01", "12:00"],
    ]  # fmt: skip


LONGEST = {
    "id": 123_456, "org": "acme", "title": "", "last_event_at": to_text(NOW), "severity": "CRITICAL", "status": "closed",
    "actor_alternate_id": "nora@example.com" * 9, "failures": 1_234, "successes": 1_234, "country": "山田太郎" * 9,
    "client_ip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "event_count": 12_345,
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_longest_values_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """The widest values make no line wider than the terminal, and ids and times are complete."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    print_alerts([LONGEST])
    heading, line = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert max(cell_len(heading), cell_len(line)) <= width
    assert line.startswith("123456 11-02 12:00 CRITICAL closed nora@exam")
    assert "✗1234 ✓1234" in line


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize(
    "words", [("list", "--wide"), ("show", "2"), ("list", "--json"), ("show", "2", "--json")]
)
def test_control_characters_in_events_are_escaped(call: Call, words: tuple[str, ...]) -> None:
    """Escape sequences, bidirectional marks and line breaks in events are escaped in the output."""
    done = call("alerts", *words)

    assert done.code == 0
    assert all(letter.isprintable() for line in done.out.split("\n") for letter in line)
    assert "[bold]Eve[/bold]" in done.out
    assert ":skull:" in done.out


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ((), [2, 1, 3]),
        (("--org", "other"), [3]),
        (("--severity", "low"), [2, 1]),
        (("--severity", "info", "--severity", "high"), [2, 1, 3]),
        (("--since", to_text(NOW - timedelta(minutes=50))), [2, 1]),
        (("--since", to_text(NOW - timedelta(minutes=49))), [2]),
        (("--rule", "Okta.Anonymizing.VPN.Login"), [2, 1, 3]),
        (("--rule", "okta.anonymizing.*"), [2, 1, 3]),
        (("--rule", "Okta.Multiple.Sessions"), []),
        (("--actor", "NORA@*"), [1]),
        (("--actor", "nora_example.com"), []),
        (("--actor", "nora@example.com", "--actor", "00u3"), [1, 3]),
        (("--ip", "203.0.113.0/24"), [2, 1]),
        (("--ip", "203.0.113.9/24", "--limit", "1"), [2]),
        (("--ip", "198.51.100.9", "--ip", "2001:db8::/32"), [3]),
        (("--until", to_text(NOW - timedelta(hours=2))), [3]),
        (("--country", "norway"), [3]),
        (("--as", "AS64500"), [3]),
        (("--closed-as", "benign"), []),
        (("--status", "open", "--status", "closed"), [2, 1, 3]),
        (("--sort", "events"), [1, 2, 3]),
        (("--sort", "severity"), [1, 2, 3]),
        (("--sort", "id"), [3, 2, 1]),
        (("--actor", "nora@example.com"), [1]),
        (("--actor", "00u3"), [3]),
        (("--ip", "198.51.100.9"), [3]),
        (("--status", "closed"), []),
        (("--status", "open", "--org", "acme", "--limit", "1"), [2]),
    ],
)
def test_filters(call: Call, words: tuple[str, ...], ids: list[int]) -> None:
    """Each filter selects the described alerts, and filters combine."""
    assert [alert["id"] for alert in call("alerts", "list", *words, "--json").json] == ids


@pytest.mark.usefixtures("alerts")
def test_a_limit_that_hides_alerts_is_reported(call: Call) -> None:
    """If --limit hides alerts, standard error has the number of all alerts."""
    assert call("alerts", "list", "--limit", "2").err == "showing 2 of 3 alerts: use --limit to show more\n"
    assert call("alerts", "list", "--limit", "3").err == ""
    assert call("alerts", "list", "--status", "closed").err == "no alerts\n"
    assert call("alerts", "list", "--count").out == "3\n"
    assert call("alerts", "list", "--ip", "203.0.113.0/24", "--count").out == "2\n"


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--org", "acmee"), "no such org (--org acmee): did you mean acme? there are: acme, other"),
        (
            ("--rule", "Okta.Nothing"),
            "no such rule (--rule Okta.Nothing): there are: Okta.Anonymizing.VPN.Login, ",
        ),
        (
            ("--ip", "203.0.113"),
            "not an address (--ip 203.0.113): expected one such as 203.0.113.7 or 203.0.113.0/24",
        ),
        (("--as", "ASX"), "not an AS number (--as ASX): expected one such as 64500 or AS64500"),
        (("--json", "--csv"), "too many formats (--json, --csv, --count): use only one of them"),
    ],
)
def test_a_filter_that_can_match_nothing_is_an_error(call: Call, words: tuple[str, ...], error: str) -> None:
    """A filter that can't match anything is a usage error that lists the valid values."""
    done = call("alerts", "list", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {error}")


@pytest.mark.usefixtures("alerts")
def test_csv_is_safe_from_formulas(call: Call) -> None:
    """The CSV omits the context, and a value that looks like a formula is escaped."""
    header, *alerts = csv.reader(call("alerts", "list", "--csv").out.splitlines())
    assert (header[0], "context" in header, len(alerts)) == ("id", False, 3)
    titles = [dict(zip(header, alert, strict=True))["actor_display_name"] for alert in alerts]
    assert titles == [HOSTILE_LINE, "Nora Vale", '\'=HYPERLINK("https://evil.example.com")']


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"])
def test_no_cell_begins_as_a_formula(sign: str) -> None:
    """A cell that a spreadsheet would run begins with an apostrophe."""
    (_, cell) = csv.reader([line + "\n" for line in csv_lines([{"title": f"{sign}1+1"}])])
    assert cell == [f"'{sign}1+1"]


def test_a_cell_with_a_line_end_begins_no_row() -> None:
    """A carriage return within a cell is quoted: a spreadsheet would begin a row there, and run its first cell."""
    (_, line) = csv_lines([{"title": "Nora\r=1+1"}])
    assert line == '"Nora\r=1+1"'


@pytest.mark.usefixtures("alerts")
def test_show(call: Call) -> None:
    """The page of an alert shows its columns, events and context."""
    done = call("alerts", "show", "1")
    shown = call("alerts", "show", "1", "--json").json

    assert "Nora Vale <nora@example.com> signed in" in done.out
    assert [found["published"] for found in shown["events"]] == [
        to_text(NOW - timedelta(hours=1)),
        to_text(NOW - timedelta(minutes=50)),
    ]
    assert all(found["event_uuid"] in done.out for found in shown["events"])
    assert shown["context"]["event_type"] == "user.session.start"
    assert shown["context"]["displayName"] == "Nora Vale"


@pytest.mark.usefixtures("alerts")
def test_no_such_alert(call: Call) -> None:
    """An unknown id prints one line and exits with 1."""
    for words in (("alerts", "show", "99"), ("explain", "--alert", "99")):
        assert call(*words) == (1, "", "error: no such alert (99): see 'oktawatch alerts list'\n")


@pytest.mark.usefixtures("alerts")
def test_an_alert_whose_events_were_deleted(call: Call, folder: Path) -> None:
    """While an old alert is being deleted, `explain` says that its events are gone, and `alerts show` still shows it."""
    (file,) = folder.glob("*.db")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM matches WHERE alert_id = 1")
    expected = "error: the events of this alert were deleted (1): see 'oktawatch alerts show 1'\n"
    assert call("explain", "--alert", "1") == (1, "", expected)
    assert call("alerts", "show", "1").code == 0


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("note", "1", ""), "TEXT"),
        (("note", "1", " \n"), "TEXT"),
        (("ack", "1", "--note", ""), "--note"),
        (("close", "1", "--as", "benign", "--note", " "), "--note"),
        (("close", "1", "--as", "benign", "--by", ""), "--by"),
        (("reopen", "1", "--by", "  "), "--by"),
    ],
)
def test_a_blank_text_is_refused(call: Call, words: tuple[str, ...], option: str) -> None:
    """A blank note would replace the alert's last one, and a blank name would name nobody."""
    call("alerts", "note", "1", "asked Nora", "--by", "abel")

    done = call("alerts", *words)

    assert done == (2, "", f"error: the text is empty ({option}): write at least one word\n")
    shown = call("alerts", "show", "1", "--json").json
    assert (shown["status"], shown["note"], len(shown["actions"])) == ("open", "asked Nora", 1)


@pytest.mark.usefixtures("alerts")
def test_a_user_without_a_name_is_recorded_by_uid(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the operating system's user has no name, `closed_by` is the uid."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_001)

    (closed,) = call("alerts", "close", "1", "--json").json

    assert (closed["status"], closed["closed_by"]) == ("closed", "4000001")


@pytest.mark.usefixtures("alerts")
def test_a_repeated_id_is_reported_once(call: Call) -> None:
    """A repeated id is handled and reported once."""
    assert call("alerts", "ack", "2", "1", "2").err == "acknowledged: 2, 1\n"
    assert [alert["id"] for alert in call("alerts", "close", "1", "1", "--json").json] == [1]
