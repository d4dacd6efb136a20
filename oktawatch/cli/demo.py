"""``oktawatch demo``: the main job with nothing to set up.

A simulated org in a thread of this process, and beside it the daemon itself, ``oktawatch run``, as a
process of its own with a configuration of its own. When the first alerts are in its database, the
daemon is ended like any other, and what it found is shown.
"""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oktawatch.cli.exits import DONE, FAILED, INTERRUPTED, UsageError
from oktawatch.cli.options import Debug, UnusedConfigFile
from oktawatch.cli.output import console, note, print_table

if TYPE_CHECKING:
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
_PATIENCE = 60.0  # seconds until the first alerts; two or three are usual
_LOOK_EVERY = 0.1  # seconds
_SHOWN = 10  # alerts
_FOREIGN = ("OKTA_CLIENT_", "OKTAWATCH_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_")
"""Variables that would make the daemon another one than the demo's."""

_ALL_RULES = """
[detection]
enable = ["*"]
"""
_CONFIGURATION = """\
# The demo's configuration. Its org is gone when the demo has ended: 'oktawatch simulate' makes one that stays.
[[orgs]]
name = "demo"
url = "{url}"
token_file = "{token_file}"
"""


def demo(
    all_rules: Annotated[
        bool,
        typer.Option("--all-rules", help="With every rule on, in an org where each has something to find."),
    ] = False,
    _config: UnusedConfigFile = None,
    _debug: Debug = False,
) -> int:
    """See oktawatch work, with nothing to set up.

    The daemon reads a simulated org until the first alerts are there, which are then shown. Its files
    are in a fresh ./oktawatch-demo each time, its configuration is its own.
    """
    from oktawatch.simulator import SCENARIOS, SimulatedOrg, build, running

    interrupted = _interrupts()
    org = SimulatedOrg()
    org.follow(build(SCENARIOS if all_rules else ["anonymizing-vpn", "apple-relay"], start=org.now()))
    with _fresh_folder(), running(org) as url:
        _write_files(url, org.token, all_rules=all_rules)
        print(f"A simulated Okta org with a day of sign-ins is up at {url}.")
        print(f"'oktawatch run' reads it as it would read yours (files in ./{FOLDER}) …", flush=True)
        with _daemon() as daemon:
            status = _first_alerts(daemon, interrupted)
    if interrupted.is_set():
        return INTERRUPTED
    if status is None:
        note(f"error: no alerts came ({_LOG}): {_last_line(_LOG) or 'look into that file'}")
        return FAILED
    _show_alerts(status, all_rules=all_rules)
    _show_next_steps()
    return DONE


def _interrupts() -> threading.Event:
    """Turn Ctrl-C and its like into an event: raised in the wrong moment, they would leave a daemon behind."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())
    return interrupted


@contextmanager
def _fresh_folder() -> Iterator[None]:
    """Make the demo's folder anew; UsageError when what is there is not a demo's, or is another's now."""
    if FOLDER.is_symlink() or (FOLDER.exists() and not _MARKER.is_file()):
        raise UsageError(
            f"not a demo's folder (./{FOLDER}): it is left alone; rename it, or run the demo elsewhere"
        )
    if FOLDER.exists():
        with _locked():
            shutil.rmtree(FOLDER)
    FOLDER.mkdir(mode=0o700)
    _MARKER.write_text("Made by 'oktawatch demo', which makes this folder anew each time.\n", "utf-8")
    with _locked():
        yield


@contextmanager
def _locked() -> Iterator[None]:
    """Keep other demos out of the folder."""
    with _MARKER.open("rb") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another demo is running (./{FOLDER}): wait until it has ended") from None
        yield


def _write_files(url: str, token: str, *, all_rules: bool) -> None:
    _TOKEN.touch(mode=0o600)
    _TOKEN.write_text(f"{token}\n", "utf-8")
    text = _CONFIGURATION.format(url=url, token_file=_TOKEN.name)
    _CONFIG.write_text(text + (_ALL_RULES if all_rules else ""), "utf-8")


@contextmanager
def _daemon() -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon while the block does; end it with SIGTERM, as systemd would."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    command = [sys.executable, "-m", "oktawatch", "run", "--config", str(_CONFIG)]
    # A session of its own: a terminal's signals are for the demo, which then ends the daemon.
    with (
        _LOG.open("wb") as log,
        subprocess.Popen(command, stderr=log, env=environment, start_new_session=True) as daemon,  # noqa: S603 -- this program itself
    ):
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)


def _first_alerts(daemon: "subprocess.Popen[bytes]", interrupted: threading.Event) -> "OrgStatus | None":
    """Wait until the daemon has caught up with the org and found something; None when it has not."""
    from oktawatch.store.database import Database
    from oktawatch.store.errors import StoreError
    from oktawatch.store.status import org_statuses

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and daemon.poll() is None and not interrupted.wait(_LOOK_EVERY):
        with suppress(StoreError):  # it is not there yet, or has no tables yet
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
    what = "events" if all_rules else "sign-ins"
    print(f"\n{status.events_seen} {what} read, {len(alerts)} alerts. The latest:\n")
    if all_rules:
        _show_by_rule(alerts)
        return
    print_table(
        ("UTC", "SEVERITY", "WHO", "ADDRESS", "COUNTRY", "EVENTS"),
        [_row(alert) for alert in alerts[:_SHOWN]],
        numbers=("EVENTS",),
    )
    print(
        "\nMEDIUM is a sign-in from an anonymizing proxy; INFO is Apple's iCloud Private"
        "\nRelay, which is kept and told to nobody. One user at one address within 6 hours"
        "\nis one alert."
    )


def _show_by_rule(alerts: list[dict[str, Any]]) -> None:
    """Show each rule's latest alert, and how many it has."""
    counts = Counter(alert["rule_id"] for alert in alerts)
    latest = {alert["rule_id"]: alert for alert in reversed(alerts)}  # the newest comes first in the list
    print_table(
        ("UTC", "SEVERITY", "RULE", "ALERTS", "LATEST"),
        [
            (alert["last_event_at"][11:16], alert["severity"], rule_id, counts[rule_id], alert["title"])
            for rule_id, alert in latest.items()
        ],
        numbers=("ALERTS",),
    )
    print("\n'oktawatch rules show RULE' says what a rule looks for.")


def _row(alert: dict[str, Any]) -> tuple[Any, ...]:
    names = ("severity", "actor_display_name", "client_ip", "country", "event_count")
    return alert["last_event_at"][11:16], *(alert[name] for name in names)


def _show_next_steps() -> None:
    """Say how to look at the alerts and what to do next; lines to paste are not wrapped."""
    program = _program()
    in_python = (
        f"import sqlite3; [print(*row, sep=' | ') for row in "
        f"sqlite3.connect('{DATABASE}').execute('''{QUERY}''')]"
    )
    say = console().print
    say("\nLook at all of them, with SQL:", style="bold")
    say(f'\n  sqlite3 -header -column {DATABASE} "{QUERY}"', soft_wrap=True)
    say("\nor, where there is no sqlite3:", style="bold")
    say(f'\n  python3 -c "{in_python}"', soft_wrap=True)
    say("\nor with oktawatch:", style="bold")
    say(f"\n  {program} alerts list --config {_CONFIG}", soft_wrap=True)
    say("\nNext, your own org:", style="bold")
    say(
        "\n  As a read-only administrator, make an API token in Okta's Admin Console"
        "\n  (Security > API > Tokens), then:"
        "\n\n  export OKTA_CLIENT_ORGURL=https://YOUR-ORG.okta.com OKTA_CLIENT_TOKEN=YOUR-TOKEN"
        f"\n  {program} backfill --since 7d --dry-run    # what last week would have alerted; writes nothing"
        f"\n  {program} run                              # from now on",
        soft_wrap=True,
    )


def _program() -> str:
    """Say how this program was called, so that the lines above can be pasted."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m oktawatch"
    found = shutil.which("oktawatch")
    if found and Path(found).resolve() == called.resolve():
        return "oktawatch"
    return shlex.quote(os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called))
