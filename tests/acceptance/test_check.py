"""`oktawatch check` reports problems before the daemon runs into them, and changes nothing."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, faults, running
from tests.support.logclient import event
from tests.support.places import Kind, Place, place_of
from tests.support.program import Program

TOKEN = "00checktoken"


posted: list[tuple[str, Any]] = []
"""The requests to another server."""


@contextmanager
def another_server() -> Iterator[str]:
    """Serve a server that is not an Okta org and accepts messages only at /hook."""

    class NotOkta(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posted.append((self.path, json.loads(self.rfile.read(length))))
            self.send_response(204 if self.path == "/hook" else 410)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), NotOkta) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def findings(program: Program) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Run the check; return its exit code and its findings by subject."""
    done = program.run("check", "--json")
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["about"], []).append((one["verdict"], one["message"]))
    return done.returncode, found


def test_a_working_configuration_passes(program: Program) -> None:
    """`check` sends two real requests to each org, and writes nothing, not even a database."""
    org = SimulatedOrg(token=TOKEN)
    with running(org) as url:
        path = program.configure(("acme", url, TOKEN))
        code, found = findings(program)
        table = program.run("check")
    assert code == 0
    assert found["org acme"] == [("ok", f"its System Log can be read ({url})")]
    assert found["database"][0][0] == found["rules"][0][0] == "ok"
    assert [request.status for request in org.requests] == [200] * 4
    assert [one.name for one in program.folder.iterdir()] == [path.name]
    assert table.stdout.splitlines()[0].split() == ["VERDICT", "ABOUT", "MESSAGE"]


BLOCKED = "Okta.Request.Blocked.Anonymizer"


@pytest.mark.parametrize(
    ("proxied", "more", "requests", "warned"),
    [
        (True, "", 2, True),
        (False, "", 2, False),
        (True, f'[detection]\nenable = ["{BLOCKED}"]\n', 1, False),
        (True, f'[rules."{BLOCKED}"]\nenabled = false\n', 1, False),
    ],
)
def test_requests_that_okta_blocked_are_warned_of(
    program: Program, proxied: bool, more: str, requests: int, warned: bool
) -> None:
    """If no enabled rule matches blocked requests, a warning names the rule to enable. The warning can be turned off."""
    org = SimulatedOrg(token=TOKEN)
    for number in range(3):
        org.persist(
            event(
                number,
                org.now() - timedelta(days=2, minutes=number),
                eventType="security.request.blocked",
                securityContext={"isProxy": proxied},
            )
        )
    with running(org) as url:
        program.configure(("acme", url, TOKEN), more=more)
        code, found = findings(program)
    assert code == 0
    assert len(org.requests) == requests
    assert found["org acme"][0] == ("ok", f"its System Log can be read ({url})")
    advice = f"enable {BLOCKED} to see them, or set its 'enabled = false'"
    warning = f"Okta itself blocked at least 3 requests from anonymizers in 7 days: {advice}"
    assert found["org acme"][1:] == ([("warning", warning)] if warned else [])


def test_a_failed_search_for_blocked_requests_is_a_warning(program: Program) -> None:
    """If only the search for blocked requests fails, the finding is a warning."""
    org = SimulatedOrg(token=TOKEN)
    org.faults.kth(2, faults.html(502))
    with running(org) as url:
        program.configure(("acme", url, TOKEN))
        code, found = findings(program)
    assert code == 0
    (readable, failed) = found["org acme"]
    assert readable[0] == "ok"
    assert failed[0] == "warning"
    assert failed[1].startswith("blocked requests could not be looked for: ")


def test_a_database_without_a_schema_is_reported(kind: Kind, tmp_path: Path) -> None:
    """`check` reports a database without a schema, and does not create the schema."""
    with place_of(kind, tmp_path, schema=False) as place, running(SimulatedOrg(token=TOKEN)) as url:
        program = Program(tmp_path, place)
        program.configure(("acme", url, TOKEN))
        findings(program)
        assert not place.has("alembic_version")


def test_a_wrong_token_or_host_and_a_missing_permission_are_distinguished(program: Program) -> None:
    """Each finding says what to do, and a working org is reported as ok."""
    good, barred = SimulatedOrg(token=TOKEN), SimulatedOrg(token=TOKEN)
    barred.can_read_logs = False
    with running(good) as url, running(barred) as barred_url, another_server() as other_url:
        program.configure(
            ("good", url, TOKEN),
            ("expired", url, "00other"),
            ("barred", barred_url, TOKEN),
            ("elsewhere", other_url, TOKEN),
        )
        code, found = findings(program)
    assert code == 1
    verdicts = {about: rows[0] for about, rows in found.items() if about.startswith("org ")}
    assert verdicts["org good"][0] == "ok"
    for org, advice in (
        ("expired", "new token"),
        ("barred", "read-only"),
        ("elsewhere", "check the org's url"),
    ):
        verdict, message = verdicts[f"org {org}"]
        assert verdict == "failed"
        assert advice in message.lower()


@pytest.mark.parametrize(("share", "warned"), [(0.6, False), (0.61, True)])
def test_a_large_share_of_the_rate_limit_is_warned_of(program: Program, share: float, warned: bool) -> None:
    """A share from which Okta mails the org's admins, 60 %, is a warning."""
    with running(SimulatedOrg(token=TOKEN)) as url:
        program.configure(("acme", url, TOKEN), more=f"[poll]\nrate_limit_share = {share}\n")
        code, found = findings(program)
    warnings = [message for verdict, message in found["configuration"] if verdict == "warning"]
    assert any("rate_limit_share is above" in message for message in warnings) is warned
    assert code == 0


def test_a_secret_file_that_everyone_can_read_is_a_warning(program: Program) -> None:
    """A secret file that everyone can read causes one warning; a private file causes none."""
    with running(SimulatedOrg(token=TOKEN)) as url:
        org = f'[[orgs]]\nurl = "{url}"\ntoken_file = "acme.token"\n'
        path = program.configure()
        path.write_text(org + org.replace("[[orgs]]", '[[orgs]]\nname = "again"'))
        file = program.folder / "acme.token"
        file.write_text(TOKEN)
        file.chmod(0o640)
        assert "secrets" not in findings(program)[1]
        file.chmod(0o644)
        code, found = findings(program)
    assert code == 0
    assert found["secrets"] == [
        ("warning", f"{file} can be read by every user of this machine: chmod o-r {file}")
    ]


def test_another_schema_is_reported(place: Place) -> None:
    """An older schema is a warning, because `run` upgrades it; a newer schema is a failure."""
    program = Program(place.folder, place)
    with running(SimulatedOrg(token=TOKEN)) as url:
        program.configure(("acme", url, TOKEN))
        program.run("db", "upgrade")
        assert findings(program)[1]["database"][0][0] == "ok"
        for revision, verdict in (("0000", "warning"), ("9999", "failed")):
            place.run(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 -- a test's own
            assert findings(program)[1]["database"][0][0] == verdict


def test_a_read_only_database_is_a_failure(tmp_path: Path) -> None:
    """A read-only database is a failure, because the daemon could not write, although alerts could be listed."""
    with place_of(Kind.POSTGRES, tmp_path) as place, running(SimulatedOrg(token=TOKEN)) as url:
        program = Program(tmp_path, place)
        program.configure(("acme", url, TOKEN))
        place.run(
            f"ALTER DATABASE {place.url.rpartition('/')[2].partition('?')[0]} SET default_transaction_read_only = on"
        )
        code, found = findings(program)
    assert code == 1
    [(verdict, message)] = found["database"]
    assert (verdict, message.endswith("in a read-only transaction")) == ("failed", True)


def test_a_full_disk_is_a_failure(program: Program) -> None:
    """A full disk is a failure, even if the database's file has free pages left."""
    with running(SimulatedOrg(token=TOKEN)) as url:
        path = program.configure(("acme", url, TOKEN))
        assert program.run("db", "upgrade").returncode == 0
        before = {one.name: one.stat().st_size for one in program.folder.iterdir()}
        largest = max(before.values()) + 200_000
        limited = (
            f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}));"
            "from oktawatch.cli.main import main; sys.exit(main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", limited, "check", "--json", "--config", str(path)],
            cwd=program.folder,
            env=program.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    found = {one["about"]: (one["verdict"], one["message"]) for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found["disk"][0] == "failed"
    assert found["disk"][1].startswith(f"a file of 1 MiB can't be written ({program.folder})")
    assert {one.name: one.stat().st_size for one in program.folder.iterdir()} == before


def test_an_invalid_option_of_a_rule_is_a_finding(program: Program) -> None:
    """An invalid option is one finding, and everything else is checked."""
    with running(SimulatedOrg(token=TOKEN)) as url:
        program.configure(("acme", url, TOKEN), more='[rules."Okta.Anonymizing.VPN.Login"]\nthreshold = 0\n')
        code, found = findings(program)
    assert code == 1
    assert found["rules"][0][0] == "failed"
    assert found["org acme"][0][0] == "ok"


def test_a_broken_custom_rule_is_a_failure(program: Program) -> None:
    """A broken rule is reported with its line, and the other rules are checked."""
    rules = program.folder / "rules"
    rules.mkdir()
    (rules / "mine.py").write_text("\nnonsense\n", "utf-8")
    org = SimulatedOrg(token=TOKEN)
    with running(org) as url:
        program.configure(("acme", url, TOKEN), more='[detection]\nrules_dir = "rules"\n')
        code, found = findings(program)
    assert code == 1
    good, broken = found["rules"]
    assert good[0] == "ok"
    assert broken == ("failed", f"{rules / 'mine.py'}, line 2: NameError: name 'nonsense' is not defined")


def _webhook(name: str, url: str) -> str:
    return f'[[notifiers]]\ntype = "webhook"\nname = "{name}"\nurl = "{url}"\n'


def test_an_unreachable_notifier_is_reported(program: Program) -> None:
    """An unreachable notifier is reported without sending a message, and without its URL."""
    posted.clear()
    with running(SimulatedOrg(token=TOKEN)) as url, another_server() as other:
        hooks = _webhook("soc", f"{other}/hook") + _webhook("gone", "http://127.0.0.1:1/secret-path")
        program.configure(("acme", url, TOKEN), more=hooks + '[[notifiers]]\ntype = "log"\n')
        code, found = findings(program)
    assert code == 1
    assert [found[f"notifier {name}"][0][0] for name in ("soc", "gone", "log")] == ["ok", "failed", "ok"]
    assert "can't be reached" in found["notifier gone"][0][1]
    assert "secret-path" not in str(found)
    assert posted == []


def test_a_test_message_is_sent(program: Program) -> None:
    """The test message is sent to each notifier without the outbox, and a refusal is a failure."""
    posted.clear()
    with running(SimulatedOrg(token=TOKEN)) as url, another_server() as other:
        hooks = _webhook("soc", f"{other}/hook") + _webhook("moved", f"{other}/gone")
        program.configure(("acme", url, TOKEN), more=hooks)
        done = program.run("check", "--send-test", "--json")
    found = {one["about"]: (one["verdict"], one["message"]) for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found["notifier soc"] == ("ok", "it accepted the test message")
    assert found["notifier moved"][0] == "failed"
    assert "410" in found["notifier moved"][1]
    assert sorted(path for path, _ in posted) == ["/gone", "/hook"]
    assert {body["type"] for _, body in posted} == {"test"}
    assert not (program.folder / "oktawatch.db").exists()
