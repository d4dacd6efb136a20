"""The health of a notifier and its changes: plain values between `store` and `notify`."""

from datetime import datetime

from msgspec import Struct

from oktawatch.model.notification import AlarmState


class NotifierHealth(Struct, frozen=True, kw_only=True):
    """A notifier's row in ``notifiers``."""

    failing_since: datetime | None = None
    """The first failed attempt since the last delivery."""
    last_error: str | None = None
    told_at: datetime | None = None
    """The time of the last alarm to the other notifiers."""


class HealthChange(Struct, frozen=True, kw_only=True):
    """The new health, and the alarm to send."""

    health: NotifierHealth
    alarm: AlarmState | None = None
    since: datetime | None = None
    """The start of the failure that the alarm reports."""
    notifiers: tuple[str, ...] = ()
    """The notifiers that receive the alarm."""
