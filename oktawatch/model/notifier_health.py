"""Whether a notifier can deliver, and what an attempt changes about that: plain values between `store` and `notify`."""

from datetime import datetime

from msgspec import Struct

from oktawatch.model.notification import AlarmState


class NotifierHealth(Struct, frozen=True, kw_only=True):
    """A notifier's row in ``notifiers``."""

    failing_since: datetime | None = None
    """The first failed attempt since the last message that was taken."""
    last_error: str | None = None
    told_at: datetime | None = None
    """When the other notifiers last heard of it."""


class HealthChange(Struct, frozen=True, kw_only=True):
    """The health from now on, and the alarm that comes with it."""

    health: NotifierHealth
    alarm: AlarmState | None = None
    since: datetime | None = None
    """When the trouble began that the alarm is about."""
    tell: tuple[str, ...] = ()
    """The notifiers that hear of it."""
