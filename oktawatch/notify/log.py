"""The channel that writes one structured log line for each notification."""

from typing import Any

from pydantic import Field, model_validator

from oktawatch.config.notifiers import NotifierSettings
from oktawatch.notify.channel import DIRECT, Way
from oktawatch.notify.message import Message

_LOGGED_COLUMNS = (
    "org", "rule_id", "severity", "title", "actor_alternate_id", "client_ip", "country", "city", "as_org",
    "outcome_result", "successes", "failures", "event_count", "first_event_at", "last_event_at",
)  # fmt: skip


class LogSettings(NotifierSettings):
    """Keys of a notifier of type ``log``."""

    max_per_minute: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_no_receiver(self) -> "LogSettings":
        self.refuse_receiver("writes to the log")
        return self


class LogChannel:
    """Writes log events such as ``alert_opened``, with columns of the alert as keys."""

    Settings = LogSettings

    def __init__(self, settings: NotifierSettings, way: Way = DIRECT) -> None:  # noqa: ARG002 -- every channel takes it
        import structlog  # noqa: PLC0415 -- slow; reading the settings imports this module, even for commands that don't log

        self._log: Any = structlog.get_logger("oktawatch.alerts").bind(notifier=settings.name)

    async def send(self, message: Message) -> None:
        """Write the log line."""
        name = message.type.replace(".", "_")
        if (alert := message.body.get("alert")) is not None:
            columns = {key: alert[key] for key in _LOGGED_COLUMNS if alert[key] is not None}
            action = message.body.get("action") or {}
            decision = {key: action[key] for key in ("by", "disposition", "note") if action.get(key)}
            self._log.warning(name, alert_id=alert["id"], **columns, **decision)
        else:
            self._log.warning(name, **{key: value for key, value in message.body.items() if key != "type"})

    async def close(self) -> None:
        """Do nothing: the log stays open."""
