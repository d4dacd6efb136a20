"""``oktawatch user`` and ``oktawatch ip``."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from rich.cells import cell_len

from oktawatch.cli.people_page import print_address, print_person
from oktawatch.detection.registry import build_rules
from oktawatch.engine.people import Profile
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.sighting import Sighting
from oktawatch.model.timestamps import to_text, utc_now
from oktawatch.store.sign_ins import SignIns
from tests.support.databases import NOW, open_database
from tests.support.places import Kind, place_of
from tests.support.streams import event, page
from tests.unit.cli.conftest import Done

Call = Callable[..., Done]

HOME = {"ipAddress": "198.51.100.9", "geographicalContext": {"city": "Boston", "country": "United States"}}
AWAY = {"ipAddress": "203.0.113.7", "geographicalContext": {"city": "Oslo", "country": "Norway"}}
EVE = {"id": "00u2", "alternateId": "eve@example.com"}
LONG_LOGIN = "nora@example.com" * 9
LONGEST_ADDRESS = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
LONGEST = Profile(
    org="acme",
    sightings=[
        Sighting(
            org="acme", actor_id="00u1", client_ip=LONGEST_ADDRESS, actor_alternate_id=LONG_LOGIN, first_at=NOW, last_at=NOW,
            successes=12_345, failures=12_345, as_number=4_294_967_295, country="山田太郎" * 9,
            anonymizer="residential_proxy", operator="OPERATOR" * 9, anonymizer_at=NOW,
        )
    ],
    others={LONGEST_ADDRESS: 12_345},
    new=[],
    sign_ins=SignIns(
        rows=[
            {
                "published": to_text(NOW), "outcome": "FAILURE", "outcome_reason": "INVALID_CREDENTIALS",
                "actor_id": "00u1", "actor_alternate_id": LONG_LOGIN, "client_ip": LONGEST_ADDRESS, "city": "山田太郎" * 9,
                "country": "Norway", "as_number": 4_294_967_295, "user_agent": "Mozilla/5.0 " * 9,
                "alerts": [123_456, 123_457],
            }
        ],
        since=NOW,
        complete=True,
    ),
    alerts=[],
)  # fmt: skip


@pytest.fixture(autouse=True)
def sign_ins(folder: Path) -> None:
    """Nora has signed in at home for ten days. An hour ago, Nora and Eve used the same proxy."""
    now, hour = utc_now(), timedelta(hours=1)
    ages = [hour * 24 * days for days in range(10, 0, -1)]
    direct = {"isProxy": False}
    events = [
        event(
            number,
            published=to_text(now - age),
            client=HOME,
            securityContext=direct,
            outcome={"result": "SUCCESS"},
        )
        for number, age in enumerate(ages)
    ]
    events += [
        event(20, published=to_text(now - hour), client=AWAY, outcome={"result": "FAILURE"}),
        event(21, published=to_text(now - hour / 2), client=AWAY, outcome={"result": "SUCCESS"}),
        event(22, published=to_text(now - hour), client=AWAY, actor=EVE, outcome={"result": "FAILURE"}),
    ]
    with place_of(Kind.SQLITE, folder) as place, open_database(place) as database:
        watch = Watch(org="acme", rules=build_rules({}, read_file=str))
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=now)


@pytest.mark.parametrize("name", ["nora@example.com", "NORA@Example.com", "00u1"])
def test_the_page_of_a_person_is_complete(call: Call, name: str) -> None:
    """The page shows addresses with their first times, what is new, other people, and sign-ins with alerts."""
    done = call("user", name)

    assert done.code == 0
    assert done.out.startswith("nora@example.com in acme\n2 addresses, 11 successes and 1 failure since ")
    assert "country Norway, since " in done.out
    assert "address 203.0.113.7, since " in done.out
    (away,) = [line for line in done.out.splitlines() if line.startswith("203.0.113.7")]
    assert (away.split()[5:7], away.split()[-1]) == (["✗1", "✓1"], "1")
    (document,) = call("user", name, "--json").json
    assert [row["alerts"] for row in document["sign_ins"]["rows"]] == [[1], [1], *[[]] * 10]
    assert document["others"] == {"203.0.113.7": 1}


def test_the_page_of_an_address_lists_its_people(call: Call) -> None:
    """The page of an address or network shows everyone who used it."""
    for address in ("203.0.113.7", "203.0.113.0/24"):
        out = call("ip", address).out
        assert out.startswith(f"{address} in acme\n")
        assert "2 people, 1 success and 2 failures" in out
        assert re.search(r"^nora@example\.com .*✗1 ✓1", out, re.MULTILINE)
        assert re.search(r"^eve@example\.com .*✗1", out, re.MULTILINE)


def test_a_limit_that_hides_sign_ins_is_reported(call: Call) -> None:
    """If --limit leaves out sign-ins, a note on standard error says so. --since selects them by time."""
    (found,) = call("user", "nora@example.com", "--limit", "3", "--json").json
    assert (len(found["sign_ins"]["rows"]), found["sign_ins"]["complete"]) == (3, False)
    assert "--since and --limit show more" in call("user", "nora@example.com", "--limit", "3").err
    (found,) = call("user", "nora@example.com", "--since", "36h", "--json").json
    assert len(found["sign_ins"]["rows"]) == 3


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("user", "nobody@example.com"), 1, "error: no sign-in of nobody@example.com is known"),
        (("ip", "192.0.2.1"), 1, "error: no sign-in from 192.0.2.1 is known"),
        (("ip", "nowhere"), 2, "error: not an address (ADDRESS nowhere): expected one such as"),
        (("ip", "fe80::1%eth0"), 2, "error: not an address (ADDRESS fe80::1%eth0): expected one such as"),
        (
            ("user", "nora@example.com", "--org", "other"),
            2,
            "error: no such org (--org other): there are: acme",
        ),
        (("user", "nora@example.com", "--since", "x"), 2, "error: wrong value (--since)"),
    ],
)
def test_an_error_is_one_line(call: Call, words: tuple[str, ...], code: int, error: str) -> None:
    """An error is one line."""
    done = call(*words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(error)


def test_a_network_of_different_addresses_has_no_single_place(folder: Path, call: Call) -> None:
    """The summary of a network counts countries and networks. Only what all of its addresses share is named."""
    now = utc_now()
    norway, poland = ({"geographicalContext": {"country": name}} for name in ("Norway", "Poland"))
    events = [
        event(
            number, published=to_text(now), client=location | {"ipAddress": address}, securityContext=security
        )
        for number, (address, location, security) in enumerate(
            [
                ("192.0.2.1", norway, {"isProxy": True, "asNumber": 64500}),
                ("192.0.2.2", poland, {"isProxy": False, "asNumber": 64500}),
                ("192.0.2.129", norway, {"isProxy": False}),
            ],
            start=30,
        )
    ]
    with place_of(Kind.SQLITE, folder) as opened, open_database(opened) as database:
        watch = Watch(org="acme", rules=build_rules({}, read_file=str))
        commit_page(database, watch, page(events), notify=False, advance=lambda *_: None, now=now)

    summaries = {address: call("ip", address).out.splitlines()[1] for address in (
        "192.0.2.1", "192.0.2.0/25", "192.0.2.0/24",
    )}  # fmt: skip
    assert summaries["192.0.2.1"].startswith("Norway · AS64500 · proxy · 1 person, ")
    assert summaries["192.0.2.0/25"].startswith("2 countries · AS64500 · 1 anonymizer · 1 person, ")
    assert summaries["192.0.2.0/24"].startswith("2 countries · 1 network · 1 anonymizer · 1 person, ")


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("draw", [print_person, partial(print_address, "2001:db8::/32")])
def test_the_longest_values_fit_the_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    draw: Callable[[Profile], None],
) -> None:
    """The widest values make no line wider than the terminal, and ids and times are complete."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    draw(LONGEST)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert all(cell_len(line.rstrip()) <= width for line in lines)
    assert any(re.search(r"11-02 12:00 +11-02 12:00 ✗12345 ✓12345", line) for line in lines)
    assert any(re.match(r"11-02 12:00:00 .*123456, 123457$", line) for line in lines)


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("words", [("user", "nora@example.com"), ("ip", "203.0.113.7")])
def test_the_pages_fit_the_terminal(
    call: Call, monkeypatch: pytest.MonkeyPatch, width: int, words: tuple[str, ...]
) -> None:
    """Each line fits the terminal, with complete times."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", call(*words).out).splitlines()
    assert all(cell_len(line.rstrip()) <= width for line in lines)
    assert any(re.match(r"\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
