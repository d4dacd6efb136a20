"""``oktawatch demo``: show oktawatch at work without any setup.

A thread of this process serves a simulated org, and a child process runs the real daemon, ``oktawatch run``.
When the daemon's database contains the first alerts, the daemon is stopped and the alerts are shown.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.alert_table import print_alerts, short_time
from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED, UsageError
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.options import Debug, UnusedConfigFile
from oktawatch.cli.output import console, note
from oktawatch.cli.program import program

if TYPE_CHECKING:
    import subprocess

    from oktawatch.store.status import OrgStatus

FOLDER = Path("oktawatch-demo")
DATABASE = FOLDER / "oktawatch.db"
_CONFIG = FOLDER / "oktawatch.toml"
_TOKEN = FOLDER / "demo.token"
_LOG = FOLDER / "oktawatch.log"
_MARKER = FOLDER / ".oktawatch-demo"

QUERY = (
    "SELECT created_at, severity, title, client_ip, country FROM alerts "
    "WHERE status = 'open' ORDER BY last_event_at DESC;"
)
_FIRST_ALERTS_TIMEOUT_S = 60.0  # two or three seconds are usual
_POLL_INTERVAL_S = 0.1
_MAX_SHOWN_ALERTS = 10
_REMOVED_VARIABLES = ("OKTA_CLIENT_", "OKTAWATCH_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_")
"""Prefixes of environment variables that the daemon doesn't inherit, because they would configure it."""

_ALL_RULES = """
[detection]
enable = ["*"]
"""
_CONFIGURATION = """\
# The demo's configuration. Its org stops with the demo; 'oktawatch simulate' serves one until you stop it.
[[orgs]]
name = "demo"
url = "{url}"
token_file = "{token_file}"

[service]
listen = ""
"""


def demo(
    all_rules: Annotated[
        bool,
        typer.Option("--all-rules", help="Enable every rule, with matching activity for each."),
    ] = False,
    _config: UnusedConfigFile = None,
    _debug: Debug = False,
) -> int:
    """Show oktawatch at work without any setup.

    The daemon reads a simulated org until the first alerts exist, which are then shown. Every run
    recreates the folder ./oktawatch-demo.
    """
    from oktawatch.simulator import SCENARIOS, SimulatedOrg, build, running

    interrupted = _catch_interrupts()
    org = SimulatedOrg()
    org.play(build(SCENARIOS if all_rules else ["anonymizing-vpn", "apple-relay"], start=org.now()))
    with _fresh_folder(), running(org) as url:
        _write_files(url, org.token, all_rules=all_rules)
        print(f"A simulated Okta org with a day of sign-ins is up at {url}.")
        print(f"'oktawatch run' reads it like a real org (files in ./{FOLDER}) …", flush=True)
        with _daemon() as daemon:
            status = _first_alerts(daemon, interrupted)
    if interrupted.is_set():
        return INTERRUPTED
    if status is None:
        note(f"error: no alerts were opened ({_LOG}): {_last_line(_LOG) or 'the log is empty'}")
        return FAILED
    _show_alerts(status, all_rules=all_rules)
    _show_next_steps()
    return DONE


def _catch_interrupts() -> threading.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set, so that none of them leaves the daemon running."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())
    return interrupted


@contextmanager
def _fresh_folder() -> Iterator[None]:
    """Recreate the demo's folder. Raise UsageError if another demo uses the folder, or if no demo created it."""
    import shutil

    if FOLDER.is_symlink() or (FOLDER.exists() and not _MARKER.is_file()):
        raise UsageError(
            f"not created by the demo (./{FOLDER}): rename it, or run the demo in another folder"
        )
    if FOLDER.exists():
        with _locked():
            shutil.rmtree(FOLDER)
    FOLDER.mkdir(mode=0o700)
    _MARKER.write_text("Created by 'oktawatch demo', which recreates this folder on each run.\n", "utf-8")
    with _locked():
        yield


@contextmanager
def _locked() -> Iterator[None]:
    """Lock the folder against other demos."""
    with _MARKER.open("rb") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another demo is running (./{FOLDER}): wait until it ends") from None
        yield


def _write_files(url: str, token: str, *, all_rules: bool) -> None:
    _TOKEN.touch(mode=0o600)
    _TOKEN.write_text(f"{token}\n", "utf-8")
    text = _CONFIGURATION.format(url=url, token_file=_TOKEN.name)
    _CONFIG.write_text(text + (_ALL_RULES if all_rules else ""), "utf-8")


@contextmanager
def _daemon() -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon during the block, then stop it with SIGTERM like systemd."""
    import subprocess

    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_REMOVED_VARIABLES)
    }
    command = [sys.executable, "-m", "oktawatch", "run", "--config", str(_CONFIG)]
    # In a new session, the daemon gets no signals from the terminal. The demo stops it.
    with (
        _LOG.open("wb") as log,
        subprocess.Popen(command, stderr=log, env=environment, start_new_session=True) as daemon,  # noqa: S603 -- this program itself
    ):
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)


def _first_alerts(daemon: "subprocess.Popen[bytes]", interrupted: threading.Event) -> "OrgStatus | None":
    """Wait until the daemon has caught up, opened alerts and sent their notifications.

    Return None if that doesn't happen in time, the daemon ends or the demo is interrupted.
    """
    from oktawatch.store.database import Database
    from oktawatch.store.errors import StoreError
    from oktawatch.store.status import org_statuses

    deadline = time.monotonic() + _FIRST_ALERTS_TIMEOUT_S
    while time.monotonic() < deadline and daemon.poll() is None and not interrupted.wait(_POLL_INTERVAL_S):
        with suppress(StoreError):  # the database or its tables do not exist yet
            database = Database(f"sqlite:///{DATABASE}")
            try:
                for status in org_statuses(database):
                    if status.last_caught_up_at and status.open_alerts and not status.pending_notifications:
                        return status
            finally:
                database.close()
    return None


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").splitlines()
    return lines[-1] if lines else ""


def _show_alerts(status: "OrgStatus", *, all_rules: bool) -> None:
    from oktawatch.store.alerts import AlertFilter, list_alerts
    from oktawatch.store.database import Database

    database = Database(f"sqlite:///{DATABASE}")
    try:
        alerts = list_alerts(database, AlertFilter(), limit=status.open_alerts)
    finally:
        database.close()
    noun = "events" if all_rules else "sign-ins"
    print(f"\n{status.events_seen} {noun} read, {len(alerts)} alerts. The latest:\n")
    if all_rules:
        _show_by_rule(alerts)
        return
    print_alerts(alerts[:_MAX_SHOWN_ALERTS])
    print(
        "\n✗ counts failures, ✓ successes of one user at one address within 6 hours."
        "\nINFO is Apple's iCloud Private Relay, recorded without a notification. A VPN is"
        "\nMEDIUM, Tor and residential proxies are HIGH. Failures before a success raise"
        "\nthe severity by one level, as does a success from a new device and place."
    )


def _show_by_rule(alerts: list[dict[str, Any]]) -> None:
    """Print the latest alert and the number of alerts of each rule."""
    counts = Counter(alert["rule_id"] for alert in alerts)
    latest = {alert["rule_id"]: alert for alert in reversed(alerts)}  # the list begins with the newest
    columns = (
        Column(heading="UTC"),
        Column(heading="SEV"),
        Column(heading="RULE"),
        Column(heading="ALERTS", right=True),
        Column(heading="LATEST", min_width=10),
    )
    rows = [
        (short_time(alert["last_event_at"]), alert["severity"], rule_id, counts[rule_id], alert["title"])
        for rule_id, alert in latest.items()
    ]
    print_one_line_table(columns, rows)
    print("\n'oktawatch rules show RULE' describes a rule.")


def _show_next_steps() -> None:
    """Print commands that query the alerts, and the next steps. Lines to copy are not wrapped."""
    name = program()
    in_python = (
        f"import sqlite3; [print(*row, sep=' | ') for row in "
        f"sqlite3.connect('{DATABASE}').execute('''{QUERY}''')]"
    )
    output = console().print
    output("\nQuery all alerts with SQL:", style="bold")
    output(f'\n  sqlite3 -header -column {DATABASE} "{QUERY}"', soft_wrap=True)
    output("\nor, without sqlite3:", style="bold")
    output(f'\n  python3 -c "{in_python}"', soft_wrap=True)
    output("\nor with oktawatch:", style="bold")
    output(f"\n  {name} alerts list --config {_CONFIG}", soft_wrap=True)
    output("\nNext, your own org:", style="bold")
    output(
        "\n  As a read-only administrator, create an API token in Okta's Admin Console"
        "\n  (Security > API > Tokens), then:"
        f"\n\n  {name} init                             # asks for the org's URL and the token"
        f"\n  {name} backfill --since 7d --dry-run    # last week's alerts; writes nothing"
        f"\n  {name} run                              # from now on",
        soft_wrap=True,
    )
