"""What waits for a notifier that is configured no more, or under another name: given up after a day, and said so.

Nobody sends it, and nobody would see that: so it becomes a dead letter, which `status` counts. Not at once,
since replicas get a new configuration one after the other, and a name may have been a slip of the pen.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.store.outbox_admin import abandon

_log: Any = structlog.get_logger(__name__)

AGE = timedelta(days=1)
_EVERY = timedelta(minutes=10)


class OrphanedNotifications:
    """Looks after the outbox of whom nobody knows, in the rounds that notifiers have."""

    name = "#leftovers"  # no notifier's name begins so

    def __init__(
        self,
        notifiers: Sequence[str],
        database: DatabaseExecutor,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``notifiers``: those that there are."""
        self.failed = 0
        """Notifications given up so far."""
        self._notifiers = tuple(notifiers)
        self._database = database
        self._now = now or database.now
        self._latest: datetime | None = None

    async def round(self) -> int:
        """Give up what is to be, now and then; nothing is ever sent. Raises StoreError."""
        now = self._now()
        if self._latest is None or abs(now - self._latest) >= _EVERY:
            abandoned = await self._database.run(abandon, self._notifiers, before=now - AGE)
            self._latest = now
            self.failed += sum(abandoned.values())
            for notifier, count in sorted(abandoned.items()):
                _log.error(
                    "notifications_given_up", notifier=notifier, count=count, error="it is not configured"
                )
        return 0
