"""The page of `alerts show`."""

import re
import shlex
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from oktawatch.detection.registry import build_rules
from oktawatch.detection.rules.anonymizing_vpn_login import AnonymizingVpnLogin
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.event import Event
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, place_of
from tests.support.streams import event, page
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) ExampleBrowser/119.0"
SECURITY = {
    "isProxy": True,
    "asNumber": 64500,
    "asOrg": "Example Hosting",
    "ipDetails": {"ipServiceCategories": [{"operator": "EXAMPLE_VPN", "type": "VPN", "isAnonymous": True}]},
}
DEBUG = {"debugData": {"behaviors": "{New Device=POSITIVE, New IP=NEGATIVE}", "risk": "{level=HIGH}"}}
CLIENT = {
    "ipAddress": "203.0.113.7",
    "userAgent": {"rawUserAgent": AGENT},
    "geographicalContext": {"city": "Oslo", "country": "Norway"},
}
EVE = {"id": "00u2", "alternateId": "eve@example.com", "displayName": "Eve Moss"}


def sign_in(number: int, *, seconds: int, result: str, **changes: Any) -> Event:
    """Build a proxied sign-in some seconds after noon. A failure has a reason."""
    outcome = {"result": result} | ({"reason": "INVALID_CREDENTIALS"} if result == "FAILURE" else {})
    return event(
        number,
        at=timedelta(seconds=seconds),
        **{"outcome": outcome, "securityContext": SECURITY, "debugContext": DEBUG, "client": CLIENT}
        | changes,
    )


@pytest.fixture
def fill(folder: Path) -> Callable[[Sequence[Event]], None]:
    """Return a function that stores events and their alerts in the database."""

    def store(events: Sequence[Event]) -> None:
        rules = build_rules({}, read_file=str)
        with place_of(Kind.SQLITE, folder) as place, open_database(place) as database:
            watch = Watch(org="acme", rules=rules)
            commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=NOW)

    return store


@pytest.fixture
def story(fill: Callable[[Sequence[Event]], None]) -> None:
    """Nora fails twice and gets in, Eve fails at the same address, and Nora signs in again at night."""
    fill(
        [
            sign_in(1, seconds=0, result="FAILURE"),
            sign_in(2, seconds=3, result="FAILURE"),
            sign_in(3, seconds=8, result="SUCCESS"),
            sign_in(4, seconds=60, result="FAILURE", actor=EVE),
            sign_in(5, seconds=40_000, result="SUCCESS"),
        ]
    )


@pytest.mark.usefixtures("story")
def test_the_page_shows_what_happened_and_the_outcome(call: Call) -> None:
    """The page shows the person, outcome, origin, anonymizer, client and Okta's risk."""
    out = call("alerts", "show", "1").out

    assert out.startswith("Alert 1: CRITICAL, open\n")
    assert (
        "Nora Vale <nora@example.com> signed in from an anonymizing proxy. Got in at 11-02 12:00 UTC, after 2 failures."
        in out
    )
    for fact in (
        "203.0.113.7 · Oslo, Norway · AS64500 Example Hosting",
        "VPN (EXAMPLE_VPN)",
        AGENT,
        "risk HIGH · New Device",
        "Okta Sign-In from VPN Anonymizer · TA0006:T1556",
    ):
        assert fact in out


@pytest.mark.usefixtures("story")
def test_the_page_lists_its_events_and_related_alerts(call: Call) -> None:
    """The page lists the alert's events in order, the person's other alerts, and other people's alerts at the address."""
    out = call("alerts", "show", "1").out

    uuids = re.findall(r"00000000-0000-4000-8000-00000000000\d", out.partition("In Okta")[0])
    assert [uuid[-1] for uuid in uuids] == ["1", "2", "3"]
    theirs, at_address = (
        out.index("Other alerts of nora@example.com"),
        out.index("Other alerts at 203.0.113.7"),
    )
    assert out.index("11-02 23:06") in range(theirs, at_address)
    assert out.index("eve@example.com") > at_address


@pytest.mark.usefixtures("story")
def test_the_page_has_the_runbook_and_commands(call: Call) -> None:
    """The page has the rule's runbook, and commands to copy."""
    out = call("alerts", "show", "1").out

    assert AnonymizingVpnLogin.runbook in out
    assert 'oktawatch alerts close 1 --as benign --note "…"' in out
    assert "oktawatch user nora@example.com\noktawatch ip 203.0.113.7\n" in out
    call("alerts", "close", "1", "--as", "benign", "--note", "travelling", "--by", "abel")
    out = call("alerts", "show", "1").out
    assert out.startswith("Alert 1: CRITICAL, closed as benign\n")
    assert "closed as benign by abel: travelling" in out
    assert "oktawatch alerts reopen 1" in out


@pytest.mark.parametrize(
    ("actor", "command"),
    [
        ({"id": "00u1", "alternateId": "-x@example.com"}, "oktawatch user -- -x@example.com"),
        ({"id": "00u1", "alternateId": "n\u202eora@example.com"}, "oktawatch user 00u1"),
        ({"id": "00u1", "alternateId": "n ora@example.com"}, "oktawatch user 'n ora@example.com'"),
        ({"id": "unknown", "alternateId": "norra@example.com"}, None),
        ({"id": "unknown", "alternateId": "a password"}, None),
    ],
)
def test_the_command_about_the_person_finds_the_person(
    call: Call, fill: Callable[[Sequence[Event]], None], actor: dict[str, str], command: str | None
) -> None:
    """The command can be pasted whatever the login is. For an actor that Okta doesn't know, there is none."""
    fill([sign_in(1, seconds=0, result="FAILURE", actor=actor)])
    commands = [
        line for line in call("alerts", "show", "1").out.splitlines() if line.startswith("oktawatch user")
    ]

    assert commands == ([command] if command else [])
    if command:
        assert call(*shlex.split(command)[1:]).code == 0


def test_an_unknown_person_has_no_other_alerts(call: Call, fill: Callable[[Sequence[Event]], None]) -> None:
    """Alerts with a redacted login can be of several people: they are related by their address only."""
    unknown = {"id": "unknown", "alternateId": "a password"}
    elsewhere = CLIENT | {"ipAddress": "198.51.100.9"}
    fill(
        [
            sign_in(1, seconds=0, result="FAILURE", actor=unknown),
            sign_in(2, seconds=1, result="FAILURE", actor=unknown, client=elsewhere),
            sign_in(3, seconds=2, result="FAILURE", actor=EVE),
            sign_in(4, seconds=40_000, result="FAILURE", actor=unknown),
        ]
    )
    out = call("alerts", "show", "1").out

    assert "Other alerts of" not in out
    at_address = out.partition("Other alerts at 203.0.113.7\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in at_address.splitlines()[1:]] == ["4", "3"]


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (["FAILURE"], "Nobody got in: 1 failure."),
        (["FAILURE", "FAILURE"], "Nobody got in: 2 failures."),
        (["SUCCESS"], "Got in at 11-02 12:00 UTC."),
        (["SUCCESS", "FAILURE"], "Got in at 11-02 12:00 UTC, before 1 failure."),
        (
            ["FAILURE", "SUCCESS", "FAILURE", "FAILURE", "SUCCESS"],
            "Got in at 11-02 12:00 UTC, after 1 failure and before 2 failures.",
        ),
        (["CHALLENGE"], "Its outcome is unknown."),
    ],
)
def test_the_outcome(
    call: Call, fill: Callable[[Sequence[Event]], None], results: list[str], sentence: str
) -> None:
    """The page describes the alert's outcome in one sentence."""
    fill([sign_in(number, seconds=number, result=result) for number, result in enumerate(results)])
    assert sentence in call("alerts", "show", "1").out.splitlines()[1]


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("command", [("alerts", "show", "1"), ("status",), ("explain", "--alert", "1")])
def test_the_page_fits_the_terminal(
    call: Call, monkeypatch: pytest.MonkeyPatch, width: int, command: tuple[str, ...]
) -> None:
    """Only lines to copy are wider than the terminal, and no word is broken."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    out = re.sub(r"\x1b\[[0-9;]*m", "", call(*command).out)

    pasted = ("oktawatch ", "In Okta: ")
    assert all(cell_len(line.rstrip()) <= width for line in out.splitlines() if not line.startswith(pasted))
    monkeypatch.setenv("COLUMNS", "1000")
    whole = call(*command).out
    cut = [word.rstrip("…") for word in re.sub(r"\x1b\[[0-9;]*m", "", out).split()]
    # Between the two calls, the free space of the disk and the ages in `status` can change.
    fixed = [word for word in cut if command[0] != "status" or not word[:1].isdigit()]
    assert all(word in whole for word in fixed)


def test_many_events_are_cut_in_the_middle(call: Call, fill: Callable[[Sequence[Event]], None]) -> None:
    """Of many events, the first and the last ones are shown."""
    fill([sign_in(number, seconds=number, result="FAILURE") for number in range(60)])
    out = call("alerts", "show", "1").out

    assert "10 more" in out
    assert out.count("INVALID_CREDENTIALS") == 50
    assert len(call("alerts", "show", "1", "--json").json["events"]) == 60


@pytest.mark.usefixtures("story")
def test_context_is_the_event_alone(call: Call) -> None:
    """--context prints the context's JSON; together with --json it is an error."""
    context = call("alerts", "show", "1", "--context").json
    assert context["actor"]["alternateId"] == "nora@example.com"
    assert context == call("alerts", "show", "1", "--json").json["context"]
    assert call("alerts", "show", "1", "--context", "--json").code == 2
