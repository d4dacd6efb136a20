"""SIGHUP reloads configuration and rules, and a broken configuration changes nothing."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oktawatch.simulator import SimulatedOrg, build, running
from tests.support.daemon import Daemon, until
from tests.support.documented import RULE_ID, write_example
from tests.support.logclient import event
from tests.support.places import Place

SETTINGS = '[poll]\ninterval = "1s"\n[service]\nlisten = ""\nlog_format = "json"\nlog_level = "info"\n'
DETECTION = '[detection]\nrules_dir = "rules"\n'


@pytest.fixture
def org() -> SimulatedOrg:
    """Return an org with a day of sign-ins, some of them through anonymizing proxies."""
    made = SimulatedOrg()
    made.play(build(["anonymizing-vpn"], start=made.now(), rate=10))
    return made


@pytest.fixture
def daemon(org: SimulatedOrg, place: Place) -> Iterator[Daemon]:
    """Yield a daemon that polls the org, with a folder for rules, after its first alert."""
    (place.folder / "rules").mkdir()
    # Set in the file, because a variable would take precedence over the changed file.
    database = f'[database]\nurl = "{place.url}"\nauto_upgrade = true\n'
    text = database + SETTINGS + DETECTION
    with running(org) as url, Daemon(place.folder, text + table("acme", url, org)) as made:
        made.logged("alert_opened")
        yield made
        assert made.stop()[0] == 0
        assert made.events("daemon_started") == [made.logged("daemon_started")]


def table(name: str, url: str, org: SimulatedOrg) -> str:
    """Write an org's table."""
    return f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{org.token}"\n'


def change(folder: Path, old: str, new: str) -> None:
    """Change the configuration."""
    file = folder / "oktawatch.toml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def refused(daemon: Daemon, org: SimulatedOrg) -> str:
    """Reload a broken configuration; return the error once the daemon has polled again."""
    daemon.process.send_signal(signal.SIGHUP)
    (line,) = [daemon.logged("reload_refused")]
    requests_before = len(org.requests)
    until(lambda: len(org.requests) > requests_before, "a poll")
    assert daemon.events("daemon_reloaded") == []
    assert len(daemon.events("reload_refused")) == 1
    error: str = line["error"]
    return error


def test_a_newly_enabled_rule_is_used_after_a_reload(
    daemon: Daemon, org: SimulatedOrg, tmp_path: Path
) -> None:
    """A newly enabled rule, built-in or user-written, is used, and the log names the backfill for its window."""
    write_example(tmp_path / "rules")
    change(tmp_path, DETECTION, DETECTION + f'enable = ["{RULE_ID}", "Okta.First.*"]\n')
    daemon.process.send_signal(signal.SIGHUP)

    reloaded = daemon.logged("daemon_reloaded")
    assert reloaded["rules"] == ["Okta.Anonymizing.VPN.Login", "Okta.First.Proxied.Session", RULE_ID]
    enabled = daemon.logged("rules_enabled")
    assert enabled["rules"] == reloaded["rules"][1:]
    assert enabled["backfill"] == "oktawatch backfill --since 7d"
    daemon.logged("cursor_restarted")
    admin = {"id": "00uadmin", "alternateId": "desk@example.com"}
    for number in range(5):
        made = event(number, datetime.now(UTC), actor=admin, outcome={"result": "SUCCESS"})
        org.persist(made | {"eventType": "user.mfa.factor.reset_all"})
    until(
        lambda: RULE_ID in {line["rule_id"] for line in daemon.events("alert_opened")}, "the rule's own alert"
    )


def test_an_added_org_is_polled_after_a_reload(daemon: Daemon, tmp_path: Path) -> None:
    """A new org is polled, the others continue, and other changed settings are used, too."""
    other = SimulatedOrg()
    change(tmp_path, '"info"', '"debug"')
    with running(other) as url:
        change(tmp_path, "[[orgs]]", f"{table('other', url, other)}[[orgs]]")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("daemon_reloaded")
        until(lambda: bool(other.requests), "a poll of the other org")
        until(lambda: "debug" in {line["level"] for line in daemon.log}, "a line of what has no news")
        # Stop the daemon while the org can still answer.
    assert daemon.events("cursor_restarted") == []
    assert daemon.events("rules_enabled") == []


def test_a_broken_configuration_changes_nothing(daemon: Daemon, org: SimulatedOrg, tmp_path: Path) -> None:
    """A broken configuration causes one line with file and key, and polling continues."""
    change(tmp_path, '"1s"', '"soon"')
    error = refused(daemon, org)
    assert error.startswith(f"wrong value ({tmp_path / 'oktawatch.toml'}: poll.interval): ")


def test_a_broken_rule_changes_nothing(daemon: Daemon, org: SimulatedOrg, tmp_path: Path) -> None:
    """A broken rule causes one line with file and line number, and the running rules and the log continue."""
    change(tmp_path, '"info"', '"critical"')
    file = write_example(tmp_path / "rules")
    file.write_text("import nothing_of_this_name\n", "utf-8")
    error = refused(daemon, org)
    assert (
        error
        == f"unusable rule ({file}, line 1): ModuleNotFoundError: No module named 'nothing_of_this_name'"
    )


def test_another_database_needs_a_restart(
    daemon: Daemon, org: SimulatedOrg, place: Place, tmp_path: Path
) -> None:
    """A reload with another database is refused, because the data would be split between the two."""
    change(tmp_path, place.url, "sqlite:///other.db")
    assert "restart to use another database" in refused(daemon, org)
    assert not (tmp_path / "other.db").exists()


def test_a_broken_rule_stops_neither_the_daemon_nor_the_other_rules(
    org: SimulatedOrg, tmp_path: Path
) -> None:
    """At a start, a broken rule is named and left out."""
    file = write_example(tmp_path / "rules")
    file.write_text("(\n", "utf-8")
    with running(org) as url, Daemon(tmp_path, SETTINGS + DETECTION + table("acme", url, org)) as daemon:
        daemon.logged("alert_opened")
        assert daemon.stop()[0] == 0
    (unusable,) = daemon.events("rule_unusable")
    assert unusable["problem"] == f"{file}, line 1: SyntaxError: '(' was never closed"
