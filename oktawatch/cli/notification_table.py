"""Print notifications as a table with one line per notification."""

from collections.abc import Mapping, Sequence
from typing import Any

from oktawatch.cli.alert_table import short_time
from oktawatch.cli.one_line_table import Column, print_one_line_table

_COLUMNS = (
    Column(heading="ID"),
    Column(heading="UTC"),
    Column(heading="STATE"),
    Column(heading="NOTIFIER", min_width=6),
    Column(heading="KIND"),
    Column(heading="ALERT", right=True),
    Column(heading="TRIES", right=True, optional=True),
    Column(heading="NEXT TRY", optional=True),
    Column(heading="ORG", min_width=4, optional=True),
    Column(heading="ERROR", min_width=8),
)
_SHORT_KINDS = {"acknowledged": "ack"}


def print_notifications(notifications: Sequence[Mapping[str, Any]], short_ids: Mapping[str, str]) -> None:
    """Print one line per notification, with its short id. Notifications are JSON objects."""
    rows = [
        (
            short_ids[notification["id"]],
            short_time(notification["created_at"]),
            notification["state"],
            notification["notifier"],
            _SHORT_KINDS.get(notification["kind"], notification["kind"]),
            notification["alert_id"],
            notification["attempts"],
            short_time(notification["next_attempt_at"] or ""),
            notification["org"],
            notification["last_error"],
        )
        for notification in notifications
    ]
    print_one_line_table(_COLUMNS, rows)
