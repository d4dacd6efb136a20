"""Retention, round after round, whatever goes wrong."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import structlog

from oktawatch.service.failure_log import UNEXPECTED, FailureLog
from oktawatch.store.errors import StoppedError, StoreError

_log: Any = structlog.get_logger(__name__)

INTERVAL = timedelta(hours=1)
"""Often, so that a round has little to do."""
FIRST = timedelta(minutes=5)
"""After the start, which has enough to do."""


class Round(Protocol):
    """What `engine.pruning.Pruner` is to us."""

    async def round(self, *, holds: Callable[[str], bool]) -> Counter[str]:
        """Delete what has had its time; give how many rows of each table. Raises StoreError."""


class Pruning:
    """Prunes without ever failing."""

    def __init__(self, pruner: Round, *, holds: Callable[[str], bool], database_trouble: FailureLog) -> None:
        """Take what prunes; ``holds``: whether an org is this process's to see to."""
        self._pruner = pruner
        self._holds = holds
        self._database_trouble = database_trouble
        self._failure_log = FailureLog("pruning")

    async def round(self) -> None:
        """Prune once."""
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
