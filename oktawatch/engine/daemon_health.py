"""Judge from the database whether a daemon runs and can write."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from oktawatch.model.durations import approximate_text
from oktawatch.store.daemons import DaemonRow

_SILENT_AFTER = timedelta(seconds=90)
"""A daemon that has not written its row for longer counts as not running: a running daemon writes every 30 s or sooner."""
_CLOCK_TOLERANCE = timedelta(seconds=60)  # a row may be dated this far in the future
_FORGOTTEN_AFTER = timedelta(days=1)
"""A daemon that has not written for longer is ignored, because it is probably no longer wanted."""


class DaemonHealth(Struct, frozen=True, kw_only=True):
    """A daemon's row, judged at a point in time."""

    row: DaemonRow
    problem: str | None
    """Why the daemon may be stopped or unable to write to its database, else None."""

    @property
    def running(self) -> bool:
        """Whether the daemon runs and can write to its database."""
        return self.problem is None


def judge_daemons(rows: Sequence[DaemonRow], *, now: datetime) -> list[DaemonHealth]:
    """Judge the daemons that wrote within the last day. Omit the others."""
    return [_judge(row, now) for row in rows if now - row.seen_at < _FORGOTTEN_AFTER]


def are_good(daemons: Sequence[DaemonHealth]) -> bool:
    """Return whether any of the daemons runs, or none is known."""
    return not daemons or any(daemon.running for daemon in daemons)


def _judge(row: DaemonRow, now: datetime) -> DaemonHealth:
    age = now - row.seen_at
    problem = None
    if age < -_CLOCK_TOLERANCE:
        problem = "it wrote at a time in the future: the clock was set back, so it is unknown whether it runs"
    elif age > _SILENT_AFTER:
        problem = f"it has not written for {approximate_text(age)}: it was killed, or it can't write to its database; see its log"
    return DaemonHealth(row=row, problem=problem)
