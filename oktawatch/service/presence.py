"""Write a row about this running daemon, for `oktawatch status`. The write also tests the database."""

import asyncio
import socket
import threading
from collections.abc import Callable
from datetime import datetime

from oktawatch import __version__
from oktawatch.engine.database import DatabaseExecutor
from oktawatch.model.timestamps import from_text, to_text
from oktawatch.store.daemons import DaemonRow, Wait, delete_daemon, write_daemon
from oktawatch.store.database import Database

_DELETE_WITHIN_S = 0.5


class Presence:
    """This daemon's row. One instance outlives reloads."""

    def __init__(self, name: str, now: Callable[[], datetime]) -> None:
        """``name`` is `service.instance`, or empty for the host name. ``now`` is the clock of the database."""
        self.state = "starting"
        """What the daemon is doing, in words for people."""
        self.waits: dict[str, Wait] = {}
        """The waiting orgs by name, with the reason and the end of each wait."""
        self._written_state = ""
        self._name = name or socket.gethostname()
        self._now = now
        self._started_at = from_text(to_text(now()))  # as the database stores it, in milliseconds
        # On Postgres, several threads write at the same time. A write after the deletion would leave a row behind.
        self._writing = threading.Lock()
        self._ended = False

    @property
    def outdated(self) -> bool:
        """Whether the state has changed since the last write began."""
        return self.state != self._written_state

    def write(self, database: Database) -> None:
        """Write the row, unless it was deleted because the daemon stops. Raises StoreError."""
        now, self._written_state = self._now(), self.state
        row = DaemonRow(
            name=self._name,
            version=__version__,
            started_at=self._started_at,
            seen_at=now,
            state=self._written_state,
            waits={org: wait for org, wait in dict(self.waits).items() if wait.until > now},
        )
        with self._writing:
            if not self._ended:
                write_daemon(database, row)

    async def end(self, database: DatabaseExecutor) -> None:
        """Delete the row and stop the database. A deletion that has not begun in time is given up. Never fails."""
        deleting = asyncio.create_task(database.run(self._delete))
        deleting.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait([deleting], timeout=_DELETE_WITHIN_S)
        database.stop()
        # Not awaited: a slow database would use up the time in which the jobs must end.
        deleting.cancel()

    def _delete(self, database: Database) -> None:
        with self._writing:
            self._ended = True
            delete_daemon(database, self._name, started_at=self._started_at)
