"""Allow entries as an operator sees them: allowed matches raise no alert, and are shown."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.logclient import event
from tests.support.places import Place
from tests.support.program import Program, errors

R1 = "Okta.Anonymizing.VPN.Login"
NOW = datetime.now(UTC)
OFFICE = '[[allow]]\nreason = "London office"\nuntil = 2099-12-31\nnetworks = ["198.51.100.0/24"]\n'
OLD = (
    '[[allow]]\nreason = "Pentest 2020"\nuntil = 2020-01-31\nactors = ["*@example.com"]\nkinds = ["proxy"]\n'
)
VENDOR = '[[allow]]\nreason = "Vendor"\nrules = ["Okta.Anonymizing.*"]\noperators = ["VENDOR_VPN"]\n'
ENTRIES = OFFICE + OLD + VENDOR


@pytest.fixture
def program(place: Place) -> Program:
    """Run oktawatch on either database."""
    return Program(place.folder, place)


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a proxied sign-in from the office, one from elsewhere and one that is not proxied."""
    made = SimulatedOrg()
    for number, (address, proxied) in enumerate(
        [("198.51.100.9", True), ("203.0.113.7", True), ("203.0.113.8", False)]
    ):
        made.persist(
            event(
                number,
                NOW - timedelta(minutes=9 - number),
                actor={"id": "00u1", "alternateId": "nora@example.com"},
                client={"ipAddress": address},
                outcome={"result": "SUCCESS"},
                securityContext={"isProxy": proxied},
            )
        )
    return made


@pytest.fixture
def url(program: Program, org: SimulatedOrg) -> Iterator[str]:
    """Serve the org, whose events the program has read with all entries."""
    with running(org) as served:
        program.configure(("acme", served, org.token), more=ENTRIES)
        done = program.run("run", "--once")
        assert done.returncode == 0, done.stderr
        assert "1 match was allowed by [[allow]] entries" in done.stderr
        yield served


def ids(program: Program) -> dict[str, str]:
    """Return the ids of the entries by their reasons."""
    return {entry["reason"]: entry["entry"] for entry in program.json("allow", "list")}


@pytest.mark.usefixtures("url")
def test_allowed_matches_are_listed_by_entry(program: Program, org: SimulatedOrg) -> None:
    """Each entry is listed with its number of matches, and unused, expired and removed entries are marked."""
    assert program.rows("SELECT client_ip FROM alerts") == [("203.0.113.7",)]
    assert program.rows("SELECT rule_id, event_uuid, reason, client_ip FROM allowed_matches") == [
        (R1, "u-0", "London office", "198.51.100.9")
    ]
    listed = {entry["reason"]: entry for entry in program.json("allow", "list")}
    states = {reason: (entry["state"], entry["matches"]) for reason, entry in listed.items()}
    assert states == {
        "London office": ("active", 1),
        "Pentest 2020": ("expired", 0),
        "Vendor": ("unused", 0),
    }
    assert listed["London office"]["conditions"] == {"networks": ["198.51.100.0/24"]}
    assert listed["London office"]["last_match_at"] == org.events[0]["published"]
    table = program.run("allow", "list", FORCE_COLOR="1", COLUMNS="80").stdout
    path = program.folder / "oktawatch.toml"
    path.write_text(path.read_text("utf-8").replace(OFFICE, ""), "utf-8")
    removed = program.json("allow", "list")[-1]
    assert (removed["state"], removed["matches"]) == ("removed", 1)
    assert (removed["reason"], removed["conditions"]) == ("London office", None)
    assert "London office" in table
    assert "CONDITIONS" not in table


@pytest.mark.usefixtures("url")
def test_an_explanation_names_the_entry(program: Program, org: SimulatedOrg) -> None:
    """The explanation of an allowed match names its entry. That of an event that was never read names the entry that applies."""
    office = ids(program)["London office"]
    shown = program.run("explain", "u-0").stdout
    (first,) = [rule for rule in program.json("explain", "u-0")["rules"] if rule["rule"] == R1]
    (second,) = [rule for rule in program.json("explain", "u-1")["rules"] if rule["rule"] == R1]
    org.persist(event(7, NOW, client={"ipAddress": "198.51.100.7"}, securityContext={"isProxy": True}))
    unread = program.run("explain", "u-7").stdout
    assert f"{R1}: matches, allowed by entry {office} (London office)\n" in shown
    assert first["allowed"] == {"entry": office, "reason": "London office", "recorded": True}
    assert (first["alert_id"], second["allowed"]) == (None, None)
    assert f"{R1}: matches, not recorded, would be allowed by entry {office} (London office)\n" in unread


@pytest.mark.usefixtures("url")
def test_an_event_is_tested_against_the_entries(program: Program) -> None:
    """The exit code says whether the event's matches are allowed. If not, the closest entry shows why."""
    known = ids(program)
    office, elsewhere, unmatched = (program.run("allow", "test", uuid) for uuid in ("u-0", "u-1", "u-2"))
    assert (office.returncode, office.stdout) == (
        0,
        f"{R1}: allowed by entry {known['London office']} (London office)\n",
    )
    assert elsewhere.returncode == 1
    assert elsewhere.stdout.splitlines() == [
        f"{R1}: not allowed; closest is entry {known['Pentest 2020']} (Pentest 2020)",
        f"  until 2020-01-31: it happened on {NOW - timedelta(minutes=8):%Y-%m-%d}",
        "  The match is already in alert 1: entries don't change alerts.",
    ]
    assert (unmatched.returncode, unmatched.stdout) == (1, "")
    assert "no enabled rule that raises alerts matches this event" in unmatched.stderr
    unknown = program.run("allow", "test", "u-99")
    assert (unknown.returncode, errors(unknown.stderr)[0].partition(" (")[0]) == (1, "error: no such event")


def result_of(program: Program, *arguments: str) -> tuple[bool, dict[str, Any]]:
    """Test a described event; return whether it is allowed, and the only result."""
    done = program.run("allow", "test", *arguments, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["allowed"] else 1)
    (result,) = document["results"]
    return document["allowed"], result


def test_a_description_is_tested_against_the_entries(program: Program) -> None:
    """A description without a value means unknown, and an operator implies its kind. No database is needed."""
    program.configure(("acme", "https://acme.example.com", "00token"), more=ENTRIES)
    allowed, result = result_of(program, "--ip", "198.51.100.77")
    assert (allowed, result["reason"], result["unmet"]) == (True, "London office", [])
    allowed, result = result_of(program, "--operator", "vendor_vpn", "--rule", R1)
    assert (allowed, result["reason"]) == (True, "Vendor")
    allowed, result = result_of(program, "--operator", "VENDOR_VPN")
    assert (allowed, result["reason"]) == (False, "Vendor")
    assert result["unmet"] == [{"condition": "rules", "expected": ["Okta.Anonymizing.*"], "found": None}]
    allowed, result = result_of(program, "--actor", "nora@example.com", "--kind", "proxy")
    assert (allowed, result["reason"]) == (False, "Pentest 2020")
    assert [one["condition"] for one in result["unmet"]] == ["until"]
    shown = program.run("allow", "test", "--operator", "VENDOR_VPN").stdout.splitlines()
    assert shown[1:] == ["  rules Okta.Anonymizing.*: it is unknown"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "wrong usage (allow test): give either EVENT_UUID alone"),
        (["u-1", "--ip", "203.0.113.7"], "wrong usage (allow test): give either EVENT_UUID alone"),
        (["--ip", "203.0.113"], "not an address (--ip 203.0.113): expected one such as"),
        (["--as", "x"], "not an AS number (--as x): expected one such as"),
        (["--kind", "vpn"], "wrong value (--kind vpn): expected one of residential_proxy, tor,"),
        (["--rule", "R1"], f"wrong value (--rule R1): expected one of {R1},"),
        (["--org", "amce"], "wrong value (--org amce): expected one of acme"),
        (['u" or'], "wrong value (EVENT_UUID): expected a uuid"),
    ],
)
def test_wrong_values_get_one_line(program: Program, arguments: list[str], expected: str) -> None:
    """A wrong value causes one line before anything is read."""
    program.configure(("acme", "https://acme.example.com", "00token"), more=ENTRIES)
    done = program.run("allow", "test", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(errors(done.stderr)) == 1
    assert errors(done.stderr)[0].startswith(f"error: {expected}")


def test_check_warns_about_entries(program: Program, org: SimulatedOrg) -> None:
    """An entry that has expired or has no end is a warning, not a failure."""
    with running(org) as url:
        program.configure(("acme", url, org.token), more=ENTRIES)
        program.run("db", "upgrade")
        done = program.run("check", "--json")
        known = ids(program)
        program.configure(("acme", url, org.token))
        without = program.json("check")["findings"]
        program.configure(("acme", url, org.token), more='[[allow]]\nreason = "x"\nrules = ["Okta.*"]\n')
        refused = program.run("check", "--json")
    assert done.returncode == 0
    about = [one for one in json.loads(done.stdout)["findings"] if one["about"] == "allow"]
    assert [(one["verdict"], one["message"]) for one in about] == [
        ("ok", "3 entries"),
        ("warning", f"entry {known['Pentest 2020']} (Pentest 2020) expired on 2020-01-31: remove it, or set a later date"),
        ("warning", f"entry {known['Vendor']} (Vendor) has no end: set until = a date, and review it then"),
    ]  # fmt: skip
    assert "allow" not in {one["about"] for one in without}
    assert refused.returncode == 1
    (failed,) = [one for one in json.loads(refused.stdout)["findings"] if one["about"] == "allow"]
    assert failed["message"].startswith("entry for everything (")


def test_a_dry_run_and_a_replay_apply_the_entries(program: Program, org: SimulatedOrg) -> None:
    """A dry run and a replay show the alerts that a backfill would raise."""
    with running(org) as url:
        program.configure(("acme", url, org.token), more=ENTRIES)
        dry = program.json("backfill", "--since", "1h", "--dry-run")
        replay = program.json("rules", "replay", "--since", "1h", "--rule", R1)
    assert (dry["matches"], dry["allowed"], dry["alerts"]) == (1, 1, 1)
    assert [alert["client_ip"] for alert in replay["would_alert"]] == ["203.0.113.7"]
