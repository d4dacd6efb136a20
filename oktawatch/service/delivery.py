"""Deliver for one notifier, round after round, whatever goes wrong."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from msgspec import Struct

from oktawatch.service.failure_log import UNEXPECTED, FailureLog, backoff
from oktawatch.store.errors import StoppedError, StoreError

INTERVAL = timedelta(seconds=5)
"""Time between two rounds, beside those that follow a poll: retries become due."""
DEADLINE = timedelta(minutes=5)
"""After it a round is cancelled; a message that is not confirmed by then is sent again under the same id."""


class Round(Protocol):
    """The part of `engine.deliver.Notifier` that is used here."""

    name: str
    failed: int
    """Attempts that failed so far."""

    async def round(self) -> int:
        """Send what is due; return how many messages were taken. Raises StoreError."""


class Delivered(Struct, frozen=True, kw_only=True):
    """The result of one round of all notifiers."""

    taken: int
    """Messages that their receivers took."""
    failed: int
    """Attempts, or whole rounds, that failed."""


async def deliver_once(notifiers: Sequence[Round]) -> Delivered:
    """Send what is due, by all notifiers at once.

    A failure is logged; its message stays in the outbox for the next run.
    """
    broken = 0

    async def deliver(notifier: Round) -> int:
        nonlocal broken
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                return await notifier.round()
        except StoppedError:
            return 0
        except Exception as error:  # noqa: BLE001 -- as below
            broken += 1
            FailureLog("delivery_round", notifier=notifier.name).failed(_reason(error), error)
            return 0

    taken = sum(await asyncio.gather(*map(deliver, notifiers)))
    return Delivered(taken=taken, failed=broken + sum(notifier.failed for notifier in notifiers))


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
        """Deliver what is due; return when to try again if not at the usual time."""
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
