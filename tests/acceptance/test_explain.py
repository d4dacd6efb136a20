"""`oktawatch explain` shows why an event was alerted or not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.logclient import event
from tests.support.places import Place
from tests.support.program import Program, errors

R1 = "Okta.Anonymizing.VPN.Login"
FIRST = "Okta.First.Proxied.Session"
SIGNAL = "Okta.Login.Success"
ENABLED = '[detection]\nenable = ["Okta.First.*", "Okta.Login.*"]\n'
NOW = datetime.now(UTC)


@pytest.fixture
def program(place: Place) -> Program:
    """Run oktawatch on each database, because each has its own SQL for history."""
    return Program(place.folder, place)


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a proxied sign-in, another one of the same person, and one without a proxy."""
    made = SimulatedOrg()
    for number, proxied in enumerate((True, True, False)):
        made.persist(
            event(
                number,
                NOW - timedelta(minutes=9 - number),
                actor={"id": "00u1", "alternateId": "nora@example.com"},
                client={"ipAddress": "203.0.113.7"},
                outcome={"result": "SUCCESS"},
                securityContext={"isProxy": proxied},
            )
        )
    return made


def explained(program: Program, uuid: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Explain an event; return the whole explanation, and each rule's part by the rule's id."""
    found: dict[str, Any] = program.json("explain", uuid)
    return found, {rule["rule"]: rule for rule in found["rules"]}


def test_each_rule_is_explained(program: Program, org: SimulatedOrg) -> None:
    """The explanation shows the alert of a match, the recorded signal, and the unmet condition of other rules."""
    with running(org) as url:
        program.configure(("acme", url, org.token), more=ENABLED)
        assert program.run("run", "--once").returncode == 0
        first, by_rule = explained(program, "u-0")
        _, second = explained(program, "u-1")
        _, third = explained(program, "u-2")
        shown = program.run("explain", "u-1").stdout
        every_rule = program.run("explain", "--all-rules", "--alert", "1").stdout
    assert (first["org"], first["source"], first["trouble"]) == ("acme", "okta", None)
    assert first["event"]["client_ip"] == "203.0.113.7"
    assert all(by_rule[rule]["matches"] and by_rule[rule]["recorded"] for rule in (R1, FIRST, SIGNAL))
    assert by_rule[R1]["alert_id"] != by_rule[FIRST]["alert_id"]
    assert (by_rule[R1]["alert_status"], by_rule[SIGNAL]["alert_id"]) == ("open", None)
    assert second[R1]["alert_id"] == by_rule[R1]["alert_id"]
    assert (second[FIRST]["matches"], second[FIRST]["recorded"]) == (False, False)
    assert second[FIRST]["conditions"][-1] == {
        "text": "No earlier matching event of 00u1 within 7d",
        "holds": False,
    }
    assert (third[R1]["matches"], third[R1]["alert_id"]) == (False, None)
    assert not third["Okta.Multiple.Sessions"]["enabled"]
    assert "\n  not met: No earlier matching event of 00u1 within 7d\n" in shown
    heads = [line for line in shown.splitlines() if line.startswith("Okta.")]
    assert heads[:2] == [f"{R1}: matches, in alert 1 (open)", f"{SIGNAL}: matches, recorded as a signal"]
    assert "Okta.Multiple.Sessions" not in shown
    assert "uuid" in every_rule
    assert "u-0" in every_rule
    assert "\nOkta.Multiple.Sessions (off): does not match\n" in every_rule


def test_without_a_token_stored_data_explains(program: Program, org: SimulatedOrg) -> None:
    """Without access to the token, `explain` uses stored data."""
    with running(org) as url:
        path = program.configure(("acme", url, org.token), more=ENABLED)
        assert program.run("run", "--once").returncode == 0
    text = path.read_text("utf-8").replace(f'token = "{org.token}"', 'token_file = "unreadable.token"')
    path.write_text(text, "utf-8")
    done = program.run("explain", "--alert", "1")
    assert done.returncode == 0, done.stderr
    assert f"{R1}: matches, in alert 1 (open)" in done.stdout
    assert "Okta did not return the event" in done.stderr
    assert program.run("explain", "--alert", "99").returncode == 1
    assert program.run("explain", "u-0", "--alert", "1").returncode == 2


def test_without_the_proxy_stored_data_explains(program: Program, org: SimulatedOrg) -> None:
    """Without access to the proxy's URL, no request is sent around the proxy."""
    with running(org) as url:
        path = program.configure(("acme", url, org.token), more=ENABLED)
        assert program.run("run", "--once").returncode == 0
        path.write_text('[poll]\nproxy_file = "unreadable.proxy"\n' + path.read_text("utf-8"), "utf-8")
        found, _ = explained(program, "u-0")
    assert found["source"] == "history"
    assert "unreadable.proxy (poll.proxy_file)" in found["trouble"]


def test_an_org_without_access_does_not_affect_others(program: Program, org: SimulatedOrg) -> None:
    """If one org's token can't be read or is refused, events of the other orgs are still requested from Okta."""
    gone = '[[orgs]]\nname = "gone"\nurl = "https://gone.okta.com"\ntoken_file = "unreadable.token"\n'
    with running(org) as url, running(SimulatedOrg()) as refused_url:
        path = program.configure(("refused", refused_url, "00wrong"), ("acme", url, org.token))
        path.write_text(gone + path.read_text("utf-8"), "utf-8")
        program.run("db", "upgrade")
        found, _ = explained(program, "u-0")
        unknown = program.run("explain", "u-9")
        missing = program.run("explain", "u-9", "--org", "refused")
    assert (found["org"], found["source"], found["trouble"]) == ("acme", "okta", None)
    (error,) = errors(unknown.stderr)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no secret" in error or "no credentials" in error
    assert "orgs[gone]" in error
    assert "Okta refuses the token (refused, " in errors(missing.stderr)[0]


def test_an_event_that_okta_deleted_is_explained_from_history(program: Program, org: SimulatedOrg) -> None:
    """An event that Okta has deleted is explained by its history row and its match."""
    with running(org) as url:
        path = program.configure(("acme", url, org.token), more=ENABLED)
        assert program.run("run", "--once").returncode == 0
    path.write_text(path.read_text("utf-8").replace(url, "http://127.0.0.1:9"), "utf-8")
    found, by_rule = explained(program, "u-0")
    assert (found["source"], found["event"]["actor_id"]) == ("history", "00u1")
    assert "can't be reached" in found["trouble"]
    assert by_rule[R1]["matches"]
    assert by_rule[R1]["alert_id"] is not None
    found, by_rule = explained(program, "u-2")
    assert found["source"] == "history"
    assert not by_rule[R1]["matches"]


def test_an_event_that_was_never_read_is_fetched(program: Program, org: SimulatedOrg) -> None:
    """An event that was never read is fetched from its org, and judged by rules that were disabled then."""
    empty = SimulatedOrg()
    with running(empty) as empty_url, running(org) as url:
        program.configure(("empty", empty_url, empty.token), ("acme", url, org.token))
        program.run("db", "upgrade")
        found, by_rule = explained(program, "u-0")
        unknown = program.run("explain", "u-9")
        elsewhere = program.run("explain", "u-0", "--org", "empty")
    assert found["org"] == "acme"
    assert (by_rule[R1]["matches"], by_rule[R1]["recorded"]) == (True, False)
    for done in (unknown, elsewhere):
        assert (done.returncode, done.stdout) == (1, "")
        assert errors(done.stderr)[0].startswith("error: no such event (u-")


def test_a_text_that_is_not_a_uuid_is_refused(program: Program) -> None:
    """A text that is not a uuid is refused, because it would become part of a filter."""
    done = program.run("explain", 'u" or uuid pr or uuid eq "')
    assert done.returncode == 2
    assert errors(done.stderr) == [
        "error: wrong value (EVENT_UUID): expected a uuid, as events and alerts show it"
    ]


def test_without_a_database_the_error_names_the_command_to_run(tmp_path: Path, org: SimulatedOrg) -> None:
    """Without a database, `explain` names the command to run, and creates no file."""
    program = Program(tmp_path)
    with running(org) as url:
        path = program.configure(("acme", url, org.token))
        done = program.run("explain", "u-0")
    assert done.returncode == 1
    assert len(errors(done.stderr)) == 1
    assert [one.name for one in program.folder.iterdir()] == [path.name]
