"""Published events cause the same rows however they are read."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from oktawatch.simulator import SimulatedOrg, load_events, running
from tests.support.places import Place
from tests.support.program import Program, eventually
from tests.support.shared import shared_data

EVENTS = "published_okta_events.ndjson"
TABLES = ("alerts", "matches", "alert_events", "events", "notifications", "rejected_events")
ALERTS = "SELECT org, rule_id, dedup_key, anchor, severity, status, title, event_count, context FROM alerts ORDER BY id"


@pytest.fixture
def program(place: Place) -> Program:
    """Run oktawatch in a folder, on either database."""
    return Program(place.folder, place)


@pytest.fixture
def published(program: Program) -> Iterator[Program]:
    """Serve the published events and configure the program for them."""
    org = SimulatedOrg()
    org.extend(load_events(shared_data(EVENTS), now=datetime.now(UTC)))
    with running(org) as url:
        program.configure(("acme", url, org.token))
        yield program


TO_NOTIFY = "SELECT id FROM alerts WHERE severity <> 'INFO' ORDER BY id"
NOTIFIED = "SELECT DISTINCT alert_id FROM notifications WHERE state = 'sent' ORDER BY alert_id"

NOTIFIED_TWICE = """
    SELECT alert_id FROM notifications WHERE state = 'sent' GROUP BY alert_id, severity HAVING count(*) > 1
"""


def proxied_sign_ins() -> set[str]:
    """Return the uuids of the file's events that must be in an alert."""
    events = map(json.loads, shared_data(EVENTS).read_text("utf-8").splitlines())
    return {event["uuid"] for event in events if _is_proxied_sign_in(event)}


def _is_proxied_sign_in(event: dict[str, Any]) -> bool:
    if event["eventType"] != "user.session.start":
        return False
    context = event.get("securityContext") or {}
    data = (event.get("debugContext") or {}).get("debugData") or {}
    services = (context.get("ipDetails") or {}).get("ipServiceCategories") or []
    tunnels = data.get("tunnels") if isinstance(data, dict) else None
    return (
        context.get("isProxy") is True
        or any(service.get("isAnonymous") is True for service in services)
        or any(tunnel.get("anonymous") is True for tunnel in json.loads(tunnels or "[]"))
    )


def contents(program: Program) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows that reading has inserted."""
    return {table: program.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}  # noqa: S608 -- names from above


@pytest.mark.parametrize(
    "commands",
    [
        (("run", "--once"), ("backfill", "--since", "24h")),
        (("backfill", "--since", "24h"), ("run", "--once")),
    ],
    ids=["run, then backfill", "backfill, then run"],
)
def test_polls_and_backfills_give_the_same_alerts(
    published: Program, commands: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    """A poll and a backfill of the same time range have the same alerts, which contain exactly the proxied sign-ins."""
    first, second = commands
    assert published.run(*first).returncode == 0
    alerts, events = published.rows(ALERTS), published.rows("SELECT event_uuid FROM alert_events")

    assert published.run(*second).returncode == 0

    assert published.rows(ALERTS) == alerts
    assert {uuid for (uuid,) in events} == proxied_sign_ins()
    assert published.rows("SELECT event_uuid FROM alert_events") == events
    assert published.rows(NOTIFIED) == published.rows(TO_NOTIFY), (
        "every alert was notified, whichever process read it first"
    )
    assert published.rows(NOTIFIED_TWICE) == []


def test_a_poll_or_a_backfill_alone_gives_the_same_alerts(published: Program) -> None:
    """Two databases, one filled by polling and one by a backfill, have the same alerts."""
    published.run("run", "--once")
    polled = published.rows(ALERTS)
    assert published.place
    published.place.wipe()

    published.run("backfill", "--since", "24h")

    assert published.rows(ALERTS) == polled


@pytest.mark.parametrize(
    "command", [("run", "--once"), ("backfill", "--since", "24h")], ids=["run", "backfill"]
)
def test_a_second_run_changes_nothing(published: Program, command: tuple[str, ...]) -> None:
    """Reading the same events again changes no row."""
    published.run(*command)
    before = contents(published)

    assert published.run(*command).returncode == 0

    assert contents(published) == before
    assert before["alerts"]


def test_simulate_serves_a_file(program: Program) -> None:
    """`simulate --events` prints a configuration with which the events can be read; Ctrl-C ends it."""
    with program.started("simulate", "--events", str(shared_data(EVENTS))) as simulated:
        assert simulated.stdout is not None
        assert simulated.stderr is not None
        simulated.stderr.readline()  # the line after the configuration, which says that the org is served
        printed = ""
        while 'token = "' not in printed:
            printed += simulated.stdout.readline()
        (program.folder / "oktawatch.toml").write_text(printed, "utf-8")

        done = program.run("run", "--once")
        simulated.send_signal(signal.SIGINT)
        rest = simulated.communicate(timeout=30)

    assert done.returncode == 0, done.stderr
    assert simulated.returncode == 0
    assert "Traceback" not in rest[1]
    assert re.search(r"# +URL +http://127\.0\.0\.1:\d+\n# +token +\S+\n", printed)
    assert {uuid for (uuid,) in program.rows("SELECT event_uuid FROM alert_events")} == proxied_sign_ins()


def test_a_backfill_beside_the_daemon_suppresses_no_notification(published: Program) -> None:
    """The daemon sends every alert once, even if a backfill read the event first; SIGTERM ends it with 0."""
    path = published.folder / "oktawatch.toml"
    path.write_text(f'[poll]\ninterval = "1s"\npage_size = 1\n{path.read_text("utf-8")}', "utf-8")
    with published.started("run", stderr=subprocess.DEVNULL) as daemon:
        backfilled = published.run("backfill", "--since", "24h")
        eventually(lambda: published.run("status").returncode == 0)
        unsent = "SELECT count(*) FROM notifications WHERE state NOT IN ('sent', 'dropped')"
        eventually(lambda: published.rows(unsent) == [(0,)])
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=5)

    assert (backfilled.returncode, daemon.returncode) == (0, 0)
    assert published.rows(NOTIFIED) == published.rows(TO_NOTIFY)
    assert published.rows(NOTIFIED_TWICE) == []
    assert {uuid for (uuid,) in published.rows("SELECT event_uuid FROM alert_events")} == proxied_sign_ins()
