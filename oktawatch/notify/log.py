"""The channel that needs no receiver: one structured log line an alert."""

from typing import Any

import structlog

from oktawatch.model.notification import DueNotification

_SHOWN = (
    "org", "rule_id", "severity", "title", "actor_alternate_id", "client_ip", "country", "city", "as_org",
    "outcome_result", "event_count", "first_event_at", "last_event_at",
)  # fmt: skip


class LogChannel:
    """Writes each notification as ``alert_opened`` or ``alert_raised`` with the alert's columns as keys."""

    def __init__(self, name: str) -> None:
        self._log: Any = structlog.get_logger("oktawatch.alerts").bind(notifier=name)

    async def send(self, notification: DueNotification) -> None:
        """Write the line."""
        alert = notification.alert or {}
        shown = {name: alert[name] for name in _SHOWN if alert.get(name) is not None}
        self._log.warning(f"alert_{notification.kind}", alert_id=alert.get("id"), **shown)
