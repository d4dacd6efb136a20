"""Delete expired rows in rounds.

A clock that is years ahead would make all rows expire. So the daemon prunes only while the database's clock is within a
day of Okta's time at the last poll that caught up.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pruning import Ages, Pruner
from oktawatch.service.app import Application
from oktawatch.service.database_trouble import DatabaseTrouble
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(hours=1)
"""Time between two rounds. Rounds are frequent, so that each is short."""
FIRST = timedelta(minutes=5)
"""The delay of the first round after the start or a reload, so that pruning does not slow down the start."""
SOON = timedelta(minutes=5)
"""The delay after a round that could not prune, because the clocks disagree or no poll has caught up yet."""
_TOLERANCE = timedelta(days=1)
"""The clocks disagree if they differ by more than this."""


def build_pruner(app: Application, database: DatabaseExecutor) -> Pruner:
    """Build the pruner with the configured retention."""
    ages = Ages(
        events=app.keep_events,
        alerts=app.keep_alerts,
        sightings=app.keep_sightings,
        sweep_window=app.sweep_window,
    )
    return Pruner(database, list(app.org_tags), app.rules, ages)


class Pruning(Supervised[Counter[str]]):
    """The rounds of pruning."""

    def __init__(
        self,
        prune: Callable[[], Awaitable[Counter[str]]],
        *,
        now: Callable[[], datetime],
        okta_time: Callable[[], datetime | None],
        database_trouble: DatabaseTrouble,
    ) -> None:
        """Prune with ``prune``: `engine.pruning.Pruner.round`.

        ``okta_time`` returns Okta's time at the last poll that caught up, or None if none has.
        """
        super().__init__(FailureLog("pruning"), database_trouble=database_trouble)
        self._prune = prune
        self._now = now
        self._okta_time = okta_time

    async def round(self) -> timedelta | None:
        """Prune once. Return the delay until the next round, or None for the usual interval."""
        okta_time = self._okta_time()
        if okta_time is None or abs(self._now() - okta_time) > _TOLERANCE:
            return SOON
        return await self.attempt(self._prune)

    def succeeded(self, deleted: Counter[str]) -> timedelta | None:
        """Log how many rows were deleted from each table."""
        if deleted.total():
            # Only a round that deletes rows shows that the database can be written.
            self.database_works()
            _log.info("pruned", **{table: rows for table, rows in sorted(deleted.items()) if rows})
        return None
