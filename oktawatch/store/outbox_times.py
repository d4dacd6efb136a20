"""Repair times in the outbox that were set by a wrong clock.

A clock that was a day ahead leaves messages that are due in a day, were created in the future, or are claimed
for another day. Once the clock is right, these messages are made due now and lose their claim, and their times of
creation and retry are limited to now.
"""

from datetime import datetime, timedelta

from sqlalchemy import case, select, update

from oktawatch.model.notification import NotificationState
from oktawatch.store import tables
from oktawatch.store.database import Database

_columns = tables.notifications.c
_TOLERANCE = timedelta(seconds=5)
"""Tolerated difference between the replicas' readings of the server's clock."""


def repair_times(
    database: Database, notifier: str, *, now: datetime, longest_wait: timedelta, lease: timedelta
) -> int:
    """Make a notifier's pending messages with impossible times due now. Return how many there were.

    ``longest_wait`` is the longest time between two attempts, ``lease`` the longest claim.
    """
    wrong = (
        _columns.state == NotificationState.PENDING,
        _columns.notifier == notifier,
        (_columns.next_attempt_at > now + longest_wait)
        | (_columns.claimed_until > now + lease)
        | (_columns.created_at > now + _TOLERANCE),
    )
    with database.read() as connection:
        if connection.execute(select(_columns.id).where(*wrong).limit(1)).first() is None:
            return 0  # the usual case, which needs no write lock
    repair = {
        "next_attempt_at": now,
        "claimed_until": None,
        "created_at": case((_columns.created_at > now, now), else_=_columns.created_at),
        "retried_at": case((_columns.retried_at > now, now), else_=_columns.retried_at),
    }
    with database.write() as connection:
        return connection.execute(update(tables.notifications).where(*wrong).values(repair)).rowcount
