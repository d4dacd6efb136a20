"""Prune in rounds.

A clock that is years ahead would make every row old. So the daemon prunes only while its clock agrees with
Okta's, as the last poll that caught up saw it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.engine.pruning import Ages, Pruner
from oktawatch.service.app import Application
from oktawatch.service.failure_log import FailureLog
from oktawatch.service.supervised import Supervised

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(hours=1)
"""Often, so that a round has little to do."""
FIRST = timedelta(minutes=5)
"""The delay of the first round: the start has enough to do."""
SOON = timedelta(minutes=5)
"""The delay of a round that is due while no poll has caught up for a day, by this clock."""
_TOLERANCE = timedelta(days=1)


def build_pruner(app: Application, database: DatabaseExecutor) -> Pruner:
    """Build what deletes what is older than the configured ages."""
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
        database_trouble: FailureLog,
    ) -> None:
        """Prune with ``prune``: `engine.pruning.Pruner.round`.

        ``okta_time`` returns Okta's time when a poll last caught up, None before the first one.
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
            # A round that deletes nothing may work on a full disk, too.
            self.database_works()
            _log.info("pruned", **{table: rows for table, rows in sorted(deleted.items()) if rows})
        return None
