"""A custom rule that freezes the process ends it. The next process continues without the rule, for every org."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, running
from tests.support.daemon import Daemon, until
from tests.support.logclient import event
from tests.support.places import Place
from tests.support.program import Program

RULE = """\
import re
from dataclasses import dataclass
from datetime import timedelta

from oktawatch.rules import EventRule, Severity


@dataclass(frozen=True, kw_only=True)
class Catastrophe(EventRule):
    id = "Acme.Catastrophe"
    name = description = runbook = false_positives = "A regular expression that backtracks without end"
    event_types = ("user.session.start",)

    severity: Severity = Severity.LOW
    dedup_period: timedelta = timedelta(hours=1)

    def matches(self, event):
        return re.fullmatch("(a+)+b", event.user_agent or "") is not None
"""
CONFIG = """\
[detection]
rules_dir = "rules"
enable = ["Acme.*"]
[service]
log_format = "json"
[poll]
interval = "5s"
[[notifiers]]
type = "log"
"""
# The program itself, with a shorter timeout of the watchdog.
PROGRAM = """\
from oktawatch.engine import rule_watchdog
from oktawatch.cli.main import main
rule_watchdog.CALL_LIMIT_S = 1.0
raise SystemExit(main())
"""
BAD = "u-1"
COMMAND = [sys.executable, "-c", PROGRAM]
HOSTILE = {"userAgent": {"rawUserAgent": "a" * 64 + "!"}, "ipAddress": "203.0.113.7"}


class Frozen:
    """Two orgs, of which one has an event that freezes a rule."""

    def __init__(self, place: Place, urls: dict[str, str], orgs: dict[str, SimulatedOrg]) -> None:
        self.place = place
        self.program = Program(place.folder, place)
        self.text = CONFIG + "".join(
            f'[[orgs]]\nname = "{name}"\nurl = "{url}"\ntoken = "{orgs[name].token}"\n'
            for name, url in urls.items()
        )
        (place.folder / "rules").mkdir()
        (place.folder / "rules" / "catastrophe.py").write_text(RULE, "utf-8")
        (place.folder / "oktawatch.toml").write_text(self.text, "utf-8")

    def freeze(self) -> "subprocess.CompletedProcess[str]":
        """Run `run --once` with a watchdog that waits a second."""
        return subprocess.run(
            [*COMMAND, "run", "--once"],
            cwd=self.place.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.place.folder), **self.place.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def counted(self) -> dict[str, int]:
        """Count the events that are stored, by org."""
        if not self.place.has("events"):
            return {}
        return dict(self.place.ask("SELECT org, count(*) FROM events GROUP BY org"))

    def check_named(self) -> None:
        """Check that `status` and the outbox name the rule and the event."""
        (named,) = self.program.json("status")["rules_left_out"]
        assert (named["org"], named["rule"], named["event_uuid"]) == ("bad", "Acme.Catastrophe", BAD)
        assert named["reason"] == "it froze oktawatch"
        found = [row[0] for row in self.place.ask("SELECT content FROM notifications WHERE kind = 'silence'")]
        (about,) = [one for content in found for one in _decoded(content)["about"]]
        assert (about["name"], about["event_uuid"]) == ("Acme.Catastrophe", BAD)


def _decoded(content: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(content) if isinstance(content, str) else content
    return decoded


@pytest.fixture
def frozen(place: Place) -> Iterator[Frozen]:
    """Return the two orgs."""
    orgs = {name: SimulatedOrg(token=f"00{name}") for name in ("bad", "good")}
    for number in range(3):
        now = datetime.now(UTC)
        orgs["good"].persist(event(number + 10, now, securityContext={"isProxy": True}))
        client = HOSTILE if number == 1 else {"ipAddress": "203.0.113.8"}
        orgs["bad"].persist(event(number, now, securityContext={"isProxy": True}, client=client))
    with running(orgs["bad"]) as bad, running(orgs["good"]) as good:
        yield Frozen(place, {"bad": bad, "good": good}, orgs)


def test_run_once_continues_at_the_next_start(frozen: Frozen) -> None:
    """The first process ends by SIGALRM. The next one names the rule, leaves it out of that page, and succeeds."""
    first = frozen.freeze()
    assert first.returncode == -signal.SIGALRM, first.stderr
    assert "bad" not in frozen.counted()

    second = frozen.program.run("run", "--once")
    assert second.returncode == 0, second.stderr
    logs = [json.loads(line) for line in second.stderr.splitlines() if line.startswith("{")]
    (froze,) = [line for line in logs if line["event"] == "rule_froze"]
    assert (froze["org"], froze["rule"], froze["event_uuid"]) == ("bad", "Acme.Catastrophe", BAD)
    assert [line["rule"] for line in logs if line["event"] == "rule_left_out"] == ["Acme.Catastrophe"]
    assert frozen.counted() == {"bad": 3, "good": 3}
    frozen.check_named()

    third = frozen.program.run("run", "--once")
    assert third.returncode == 0, third.stderr
    assert "rule_froze" not in third.stderr


class _FrozenDaemon(Daemon):
    @property
    def command(self) -> list[str]:
        """Start the daemon with a watchdog that waits a second."""
        return [*COMMAND, "run", "--config", str(self._config)]


@pytest.mark.slow
def test_a_daemon_polls_every_org_after_its_restart(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart, the daemon polls every org."""
    monkeypatch.setenv("XDG_STATE_HOME", str(frozen.place.folder))
    with _FrozenDaemon(frozen.place, frozen.text) as daemon:
        assert daemon.process.wait(30) == -signal.SIGALRM
    with _FrozenDaemon(frozen.place, frozen.text) as daemon:
        until(lambda: frozen.counted() == {"bad": 3, "good": 3}, "both orgs polled")
        assert daemon.logged("rule_left_out")["event_uuid"] == BAD
        code, _ = daemon.stop()
    assert code == 0
    frozen.check_named()
