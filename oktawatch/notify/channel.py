"""What a channel is: a way to carry one notification to people."""

from typing import Protocol

from oktawatch.model.notification import DueNotification


class DeliveryError(Exception):
    """A channel could not deliver; the message says why and holds no secret."""


class Channel(Protocol):
    """A way to carry notifications. One file a channel."""

    async def send(self, notification: DueNotification) -> None:
        """Deliver one notification; return once the receiver has taken it.

        May be called again for the same notification, which keeps its id. Raises DeliveryError.
        """
