"""What a channel is: a way to carry one notification to people."""

from datetime import timedelta
from typing import Protocol

from oktawatch.model.notification import DueNotification


class DeliveryError(Exception):
    """A channel could not deliver; the message says why and holds no secret."""

    def __init__(self, why: str, *, final: bool = False, retry_after: timedelta | None = None) -> None:
        """Say why. ``final``: the receiver will never take it; ``retry_after``: how long it wants peace."""
        super().__init__(why)
        self.final = final
        self.retry_after = retry_after


class Channel(Protocol):
    """A way to carry notifications. One file a channel."""

    async def send(self, notification: DueNotification) -> None:
        """Deliver one notification; return once the receiver has taken it.

        May be called again for the same notification, which keeps its id. Raises DeliveryError.
        """
