"""The lines of ``oktawatch status`` about the daemons and the database."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.output import note

if TYPE_CHECKING:
    from oktawatch.engine.daemon_health import DaemonHealth
    from oktawatch.store.daemons import Wait
    from oktawatch.store.space import Space

_UNITS = ("B", "KiB", "MiB", "GiB")
_UNIT_FACTOR = 1024
_DAEMON = (
    Column(heading="DAEMON", min_width=8),
    Column(heading="STATE"),
    Column(heading="STARTED"),
    Column(heading="LAST WRITE"),
    Column(heading="ACTIVITY", min_width=8),
)
_DATABASE = (
    Column(heading="SIZE", right=True),
    Column(heading="FREE", right=True),
    Column(heading="DATABASE", min_width=8),
)


def print_machine(
    daemons: "Sequence[DaemonHealth]",
    place: str,
    space: "Space",
    *,
    age: Callable[[datetime], str],
    now: datetime,
) -> None:
    """Print the daemons and the database. ``age`` formats a time as its age, such as ``12s ago``."""
    print()
    if daemons:
        rows = [
            (
                daemon.row.name,
                "running" if daemon.running else "silent",
                age(daemon.row.started_at),
                age(daemon.row.seen_at),
                daemon.row.state,
            )
            for daemon in daemons
        ]
        print_one_line_table(_DAEMON, rows)
    else:
        print("no daemon runs")
    print()
    print_one_line_table(
        _DATABASE, [(_size(space.used), "" if space.free is None else _size(space.free), place)]
    )
    for daemon in daemons:
        if daemon.problem is not None:
            note(f"{daemon.row.name}: {daemon.problem}")
        else:
            _print_waits(daemon.row.waits, now)
    if space.little:
        note("the disk of the database is almost full: free space before writes fail")


def _print_waits(waits: "Mapping[str, Wait]", now: datetime) -> None:
    from oktawatch.model.durations import approximate_text
    from oktawatch.store.daemons import WaitReason

    for org, wait in sorted(waits.items()):
        if (left := wait.until - now) <= timedelta():
            continue
        if wait.reason is WaitReason.RATE_LIMIT:
            note(f"{org}: waits {approximate_text(left)} for Okta's rate limit")
        else:
            note(f"{org}: polls again in {approximate_text(left)}")


def daemon_json(daemon: "DaemonHealth") -> dict[str, Any]:
    """Return a daemon as a JSON object."""
    from oktawatch.model.timestamps import to_text

    row = daemon.row
    return {
        "name": row.name,
        "version": row.version,
        "running": daemon.running,
        "problem": daemon.problem,
        "started_at": to_text(row.started_at),
        "seen_at": to_text(row.seen_at),
        "state": row.state,
        "waits": {
            org: {"until": to_text(wait.until), "reason": wait.reason} for org, wait in row.waits.items()
        },
    }


def _size(count: int) -> str:
    """Format a number of bytes, such as ``12.3 MiB``."""
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < _UNIT_FACTOR:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _UNIT_FACTOR
    return f"{size:.1f} {_UNITS[-1]}"
