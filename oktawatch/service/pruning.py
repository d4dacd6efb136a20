"""Retention, round after round, whatever goes wrong.

A clock that is years ahead would make everything old. So the daemon prunes only while its clock agrees with
Okta's, as a poll that caught up has last seen it.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from oktawatch.service.failure_log import UNEXPECTED, FailureLog
from oktawatch.store.errors import StoppedError, StoreError

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(hours=1)
"""Often, so that a round has little to do."""
FIRST = timedelta(minutes=5)
"""After the start, which has enough to do."""
SOON = timedelta(minutes=5)
"""How long pruning waits when no poll has caught up for a day, by this clock."""
_TOLERANCE = timedelta(days=1)


class Round(Protocol):
    """What `engine.pruning.Pruner` is to us."""

    async def round(self, *, holds: Callable[[str], bool]) -> Counter[str]:
        """Delete expired rows. Return how many went from each table. Raises StoreError."""


class Pruning:
    """Prunes without ever failing."""

    def __init__(
        self,
        pruner: Round,
        *,
        holds: Callable[[str], bool],
        now: Callable[[], datetime],
        okta_time: Callable[[], datetime | None],
        database_trouble: FailureLog,
    ) -> None:
        """Prune with ``pruner`` the orgs that this process ``holds``.

        ``okta_time``: Okta's time when a poll last caught up; None before the first one.
        """
        self._pruner = pruner
        self._holds = holds
        self._now = now
        self._okta_time = okta_time
        self._database_trouble = database_trouble
        self._failure_log = FailureLog("pruning")

    async def round(self) -> timedelta | None:
        """Prune once. Return the delay until the next round, or None for the usual interval."""
        okta_time = self._okta_time()
        if okta_time is None or abs(self._now() - okta_time) > _TOLERANCE:
            return SOON
        await self._prune()
        return None

    async def _prune(self) -> None:
        try:
            deleted = await self._pruner.round(holds=self._holds)
        except StoppedError:
            return
        except StoreError as error:
            self._database_trouble.failed("database", error)
        except Exception as error:  # noqa: BLE001 -- a bug here must not end the daemon
            self._failure_log.failed(UNEXPECTED, error)
        else:
            self._failure_log.ended()
            self._database_trouble.ended()
            if deleted.total():
                _log.info("pruned", **{table: rows for table, rows in sorted(deleted.items()) if rows})
