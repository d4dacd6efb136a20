"""`oktawatch rules replay` tries a rule on past events before it is enabled."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from oktawatch.simulator import SimulatedOrg, build, running
from tests.support.documented import RULE_ID, write_example
from tests.support.logclient import event
from tests.support.program import Program, errors

FIRST = "Okta.First.Proxied.Session"
DAY = timedelta(days=1)


def test_a_disabled_rule_is_replayed(program: Program) -> None:
    """A replay shows the alerts of a disabled rule and their number per day, and stores nothing."""
    org = SimulatedOrg()
    org.play(build(["many-sessions", "anonymizing-vpn"], start=org.now(), span=3 * DAY, rate=20))
    with running(org) as url:
        path = program.configure(("acme", url, org.token))
        found = program.json("rules", "replay", "--since", "2d", "--rule", "Okta.Multiple.Sessions")
        shown = program.run("rules", "replay", "--since", "2d", "--rule", "Okta.Multiple.Sessions")
    assert found["alerts"] == len(found["would_alert"]) == sum(day["alerts"] for day in found["days"]) > 0
    assert {alert["rule_id"] for alert in found["would_alert"]} == {"Okta.Multiple.Sessions"}
    assert len(found["days"]) == 3
    assert found["alerts_a_day"] == pytest.approx(found["alerts"] / 2, abs=0.001)
    assert found["orgs"] == [{"org": "acme", "error": None}]
    assert f"would have opened {found['alerts']} alerts" in shown.stdout
    assert [one.name for one in program.folder.iterdir()] == [path.name]


def test_a_replay_reads_the_window_before_the_time_range(program: Program) -> None:
    """A replay also reads the window before the time range, whose alerts are not counted."""
    org = SimulatedOrg()
    now = datetime.now(UTC)
    for number, days in enumerate((5, 1)):
        org.persist(event(number, now - days * DAY, actor={"id": "00u1"}, securityContext={"isProxy": True}))
    with running(org) as url:
        program.configure(("acme", url, org.token))
        found = {
            since: program.json("rules", "replay", "--since", since, "--rule", FIRST)
            for since in ("2d", "6d")
        }
    assert (found["2d"]["alerts"], found["2d"]["matches"]) == (0, 0)
    assert (found["6d"]["alerts"], found["6d"]["matches"]) == (1, 1)


@pytest.mark.parametrize(
    ("since", "until"), [("0001-01-01", "0001-01-03"), ("9999-12-30", "9999-12-31T23:59:59Z")]
)
def test_a_replay_at_the_limits_of_the_calendar(program: Program, since: str, until: str) -> None:
    """A replay lists the first and the last days of the calendar."""
    org = SimulatedOrg()
    with running(org) as url:
        program.configure(("acme", url, org.token))
        found = program.json("rules", "replay", "--since", since, "--until", until, "--rule", FIRST)
    assert found["days"][0] == {"day": since, "alerts": 0}
    assert found["days"][-1] == {"day": until[:10], "alerts": 0}


def test_a_custom_rule_is_replayed_with_its_options(program: Program) -> None:
    """A custom rule is replayed with its configured options."""
    write_example(program.folder / "rules")
    org = SimulatedOrg()
    now = datetime.now(UTC)
    for number in range(3):
        reset = {"eventType": "user.mfa.factor.reset_all", "outcome": {"result": "SUCCESS"}}
        org.persist(event(number, now - timedelta(minutes=9 - number), actor={"id": "00u1"}, **reset))
    more = f'[detection]\nrules_dir = "rules"\n[rules."{RULE_ID}"]\nat_least = {{}}\n'
    with running(org) as url:
        alerts = []
        for at_least in (3, 4):
            program.configure(("acme", url, org.token), more=more.format(at_least))
            alerts.append(program.json("rules", "replay", "--since", "1h", "--rule", RULE_ID)["alerts"])
    assert alerts == [1, 0]


def test_a_signal_is_counted(program: Program) -> None:
    """A replayed signal is counted, because it raises no alerts."""
    org = SimulatedOrg()
    org.persist(event(0, datetime.now(UTC), outcome={"result": "SUCCESS"}))
    with running(org) as url:
        program.configure(("acme", url, org.token))
        done = program.run("rules", "replay", "--since", "1h", "--rule", "Okta.Login.Success")
    assert done.stdout == "Okta.Login.Success would have recorded 1 match. A signal opens no alerts.\n"


def test_invalid_replays_are_refused(program: Program) -> None:
    """An unknown rule is a usage error, and an org that can't be read is a failure."""
    program.configure(("acme", "http://127.0.0.1:9", "00invented"))
    unknown = program.run("rules", "replay", "--since", "1h", "--rule", "No.Such")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert errors(unknown.stderr)[0].startswith("error: no such rule (No.Such): expected one of Okta.Anon")
    unread = program.run("rules", "replay", "--since", "1h", "--rule", FIRST, "--json")
    assert unread.returncode == 1
    assert "can't be reached" in json.loads(unread.stdout)["orgs"][0]["error"]
