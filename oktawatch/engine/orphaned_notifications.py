"""Expire notifications for removed or renamed notifiers.

Otherwise they would wait forever unnoticed. After a day they become dead letters, which `status` counts. They don't expire
at once, because replicas are reconfigured one after the other, and a name may have been mistyped.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from oktawatch.engine.database import DatabaseExecutor
from oktawatch.store.outbox_admin import abandon

_log: Any = structlog.get_logger(__name__)

AGE = timedelta(days=1)
"""The age, since its creation or last manual retry, at which a notification for an unknown notifier expires."""
_INTERVAL = timedelta(minutes=10)


class OrphanedNotifications:
    """Expires the notifications of unknown notifiers, in rounds like those of a notifier."""

    name = "#orphaned"  # no notifier's name begins with #

    def __init__(
        self,
        notifiers: Sequence[str],
        database: DatabaseExecutor,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``notifiers`` are the names of the configured notifiers."""
        self.failed = 0
        """The number of notifications that have expired."""
        self._notifiers = tuple(notifiers)
        self._database = database
        self._now = now or database.now
        self._latest: datetime | None = None

    async def round(self) -> int:
        """Expire old notifications, at most every ten minutes. Return 0, the number of sent messages. Raises StoreError."""
        now = self._now()
        if self._latest is None or abs(now - self._latest) >= _INTERVAL:
            abandoned = await self._database.run(abandon, self._notifiers, before=now - AGE)
            self._latest = now
            self.failed += sum(abandoned.values())
            for notifier, count in sorted(abandoned.items()):
                _log.error(
                    "notifications_given_up", notifier=notifier, count=count, error="it is not configured"
                )
        return 0
