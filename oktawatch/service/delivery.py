"""One notifier, round after round, whatever goes wrong."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff
from oktawatch.store.errors import StoppedError, StoreError

INTERVAL = timedelta(seconds=5)
"""How often the outbox is looked at beside what a poll has just put there: retries become due."""
DEADLINE = timedelta(minutes=5)
"""After it a round is cancelled; what the receiver has not confirmed is sent again under the same id."""


class Round(Protocol):
    """What `engine.deliver.Notifier` is to us."""

    name: str

    async def round(self) -> int:
        """Send what is due; give how many were taken. Raises StoreError."""


async def deliver_once(notifiers: Sequence[Round]) -> int:
    """Send what is due, by all notifiers at once; give how many messages were taken.

    What fails is logged: it stays in the outbox, and the daemon tries it again.
    """

    async def deliver(notifier: Round) -> int:
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                return await notifier.round()
        except StoppedError:
            return 0
        except Exception as error:  # noqa: BLE001 -- as below
            FailureLog("delivery_round", notifier=notifier.name).failed(_reason(error), error)
            return 0

    return sum(await asyncio.gather(*map(deliver, notifiers)))


def _reason(error: Exception) -> str:
    if isinstance(error, StoreError):
        return "database"
    return "timed_out" if isinstance(error, TimeoutError) else UNEXPECTED


class Delivery:
    """Delivers for one notifier without ever failing."""

    def __init__(self, notifier: Round, *, database_trouble: FailureLog) -> None:
        self._notifier = notifier
        self._database_trouble = database_trouble
        self._failure_log = FailureLog("delivery_round", notifier=notifier.name)
        self._failures = 0

    async def round(self) -> timedelta | None:
        """Deliver what is due; give in how long to try again when that is not at the usual time."""
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                taken = await self._notifier.round()
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 -- one notifier's trouble, even a bug, must not be another's
            self._failures += 1
            if isinstance(error, StoreError):
                self._database_trouble.failed("database", error)
            else:
                self._failure_log.failed(_reason(error), error)
            return backoff(self._failures, INTERVAL)
        self._failures = 0
        self._failure_log.ended()
        if taken:
            # An empty outbox was only read, which works while nothing can be written.
            self._database_trouble.ended()
        return None
